/**
 * `npm run build`: dist/, the same files as plain JavaScript, for a Node that is not to strip types itself. It keeps the folders, so what
 * the code finds beside itself (migrations, the printed schema) is found there too. Run with `node dist/src/main.js`.
 */
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join } from 'node:path'

const root = join(import.meta.dirname, '..')
const out = join(root, 'dist')

for (const folder of ['src', 'shim', 'prisma']) rmSync(join(out, folder), { recursive: true, force: true })
for (const file of globSync('{src,shim}/**/*.ts', { cwd: root })) {
  const code = stripTypeScriptTypes(readFileSync(join(root, file), 'utf8'))
  const shebang = file === join('src', 'main.ts') && !code.startsWith('#!') ? '#!/usr/bin/env node\n' : ''
  // A relative path to a .ts file is an import or a worker.
  write(file.replace(/\.ts$/, '.js'), shebang + code.replaceAll(/(['"])(\.{1,2}\/[^'"\n]+)\.ts\1/g, '$1$2.js$1'))
}
for (const file of globSync(['src/**/*.graphql', 'prisma/*/migrations/**'], { cwd: root }))
  cpSync(join(root, file), join(out, file), { recursive: true })

const {
  name,
  version,
  license,
  type,
  private: own,
  dependencies,
} = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, unknown>
const manifest = { name, version, license, type, private: own, engines: { node: '>=22' }, bin: { hungryserv: 'src/main.js' }, dependencies }
write('package.json', `${JSON.stringify(manifest, null, 2)}\n`)

function write(file: string, text: string): void {
  mkdirSync(dirname(join(out, file)), { recursive: true })
  writeFileSync(join(out, file), text)
}
