#!/usr/bin/env node
// Any Node understands this file. It runs a TypeScript file (src/main.ts when none is named) under the first Node that is new enough: the
// one running, in this process where it reads TypeScript by itself, or the binary of an optional package, which musl systems cannot run.
import { spawn, spawnSync } from 'node:child_process'
import module from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const given = process.argv.slice(2)
const file = given.find((word) => !word.startsWith('-')) ?? ''
const args = file.endsWith('.ts') ? given : [join(root, 'src', 'main.ts'), ...given]
const carried = join(root, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node')
// better-sqlite3 13 crashes before 22.15; the tests say `await using`, which came with 24.
const least = /^(test|scripts)\//.test(file) ? [24, 0] : [22, 15]
const [major, minor] = process.versions.node.split('.').map(Number)
const enough = major > least[0] || (major === least[0] && minor >= least[1])
// What was compiled once is not compiled again: a start takes two thirds of the time. By the environment, so that worker threads know it too.
process.env.NODE_COMPILE_CACHE ??= join(tmpdir(), 'node-compile-cache')
if (!enough && spawnSync(carried, ['--version']).status !== 0) {
  process.stderr.write(`Hungryserv needs Node.js ${least.join('.')} or newer: install it from https://nodejs.org and try again.\n`)
  process.exitCode = 1
} else if (enough && process.features.typescript && args[0].endsWith('.ts')) {
  module.enableCompileCache?.()
  process.argv.splice(1, process.argv.length, resolve(args[0]), ...args.slice(1))
  import(pathToFileURL(process.argv[1]).href)
} else {
  const flags = ['--disable-warning=ExperimentalWarning', '--experimental-strip-types']
  const child = spawn(enough ? process.execPath : carried, [...flags, ...args], { stdio: 'inherit' })
  // A terminal sends Ctrl-C to both processes; only other senders need it passed on.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(signal, () => (signal === 'SIGINT' && process.stdin.isTTY) || child.kill(signal))
  child.on('exit', (code, signal) => process.exit(signal ? 1 : (code ?? 1)))
}
