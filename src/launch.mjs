#!/usr/bin/env node
// Any Node understands this file. It starts the rest under the first Node ≥ 22 it finds: the one running, or an optional npm package.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const enough = Number(process.versions.node.split('.')[0]) >= 22
const carried = join(root, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node')
const node = enough ? process.execPath : existsSync(carried) ? carried : null
if (!node) {
  process.stderr.write('Hungryserv needs Node.js 22 or newer: install it from https://nodejs.org and try again.\n')
  process.exit(1)
}
const given = process.argv.slice(2)
const args = given.some((word) => word.endsWith('.ts')) ? given : [join(root, 'src', 'main.ts'), ...given]
const child = spawn(node, ['--disable-warning=ExperimentalWarning', '--experimental-strip-types', ...args], { stdio: 'inherit' })
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(signal ? 1 : code ?? 1))
