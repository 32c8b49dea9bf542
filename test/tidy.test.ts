/** Holds the house to ARCHITECTURE.md: who imports whom, what stays in its one home, and that nothing generated is stale. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, lstatSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { type Import, readSource, root, type Source } from './rig/source.ts'

const sources = globSync(['{src,shim,test,scripts,prisma}/**/*.{ts,tsx,mjs}', '*.ts'], { cwd: root })
  .map((file) => file.replaceAll('\\', '/'))
  .sort()
  .map(readSource)
const byFile = new Map(sources.map((source) => [source.file, source]))
const product = sources.filter(({ file }) => /^(src|shim)\//.test(file))
const isGenerated = ({ file, text }: Source) => file.includes('/generated/') || /^\/\/ Written by .*Do not edit/.test(text)

/** Anyone may use these. */
const leaves = ['src/errors', 'src/ids', 'src/ports']
/** Above what they may import, lowest first; a domain also imports stream, jobs and storage. */
const domains: Record<string, readonly string[]> = {
  rules: [],
  users: ['rules'],
  media: ['rules', 'users'],
  rooms: ['rules', 'users', 'media'],
  devices: ['rules', 'users', 'media', 'rooms'],
  appservices: ['rules', 'users', 'media', 'rooms', 'devices'],
  push: ['rules', 'users', 'media', 'rooms', 'devices'],
  sync: ['rules', 'users', 'media', 'rooms', 'devices', 'appservices', 'push'],
  instances: ['rules', 'users', 'media', 'rooms', 'devices', 'appservices', 'push', 'sync'],
}
const inSrc = (names: readonly string[]) => names.map((name) => `src/${name}`)
const base = inSrc(['stream', 'jobs', 'storage'])
const allowed: Record<string, readonly string[]> = {
  ...Object.fromEntries(
    Object.entries(domains).map(([name, below]) => [`src/${name}`, [...(name === 'rules' ? [] : base), ...inSrc(below)]]),
  ),
  'src/storage': [],
  'src/stream': inSrc(['storage']),
  'src/jobs': inSrc(['stream', 'storage']),
  'src/graphql': inSrc(['stream', ...Object.keys(domains)]),
  'src/dashboard': [],
  'src/server': [...base, ...inSrc(['graphql', 'instances', 'appservices', 'push', 'media', 'config', 'commands', 'metrics']), 'shim'],
  'src/main': inSrc(['server', 'config', 'commands']),
  'src/commands': inSrc(['config']),
  'src/errors': [],
  'src/ids': [],
  'src/ports': [],
  'src/config': inSrc(['rules']),
  'src/metrics': inSrc(['instances', 'appservices', 'rules']),
  // `rules` is pure: whoever needs a rule may ask it.
  shim: inSrc([
    'graphql/execute',
    'graphql/context',
    'users/sessions',
    'instances',
    'media',
    'rules',
    'appservices/sockets',
    'appservices/provisioning',
  ]),
}
/** Types say what is handed over; who takes them imports no code. */
const allowedTypes: Record<string, readonly string[]> = {
  ...Object.fromEntries(Object.keys(domains).map((name) => [`src/${name}`, name === 'rules' ? [] : inSrc(['config'])])),
  'src/stream': inSrc(['config']),
  'src/graphql': inSrc(['config', 'storage', 'jobs']),
  shim: [...inSrc(Object.keys(domains)), ...inSrc(['config', 'stream', 'storage/storage'])],
}

/** The folder a rule speaks of: `src/rooms`, `src/server`, `shim`, and one file where the rule names files. */
function partOf(file: string): string {
  if (file.startsWith('shim/')) return 'shim'
  return /^src\/[^/.]+/.exec(file)?.[0] ?? file
}

function permits(list: readonly string[], target: string): boolean {
  return list.some((entry) => target === `${entry}.ts` || target.startsWith(`${entry}/`))
}

test('imports go one way', () => {
  const wrong: string[] = []
  for (const source of product) {
    const part = partOf(source.file)
    const list = allowed[part]
    if (!list && source.file !== 'src/launch.mjs') wrong.push(`${source.file}: no such place in the layout`)
    if (!list) continue
    for (const { target, local, typeOnly } of source.imports) {
      if (!local || partOf(target) === part || permits(leaves, target) || permits(list, target)) continue
      if (typeOnly && permits(allowedTypes[part] ?? [], target)) continue
      wrong.push(`${source.file} imports ${target}${typeOnly ? ' (types)' : ''}`)
    }
  }
  none(wrong)
})

test('the parts of a bridge to the outside stay in their one home', () => {
  const homes: [RegExp, (file: string) => boolean][] = [
    [/^(better-sqlite3|pg|pg-.*|@prisma\/.*|prisma|node:sqlite)$/, (file) => file.startsWith('src/storage/')],
    [/^(@pothos\/.*|graphql-yoga|@graphql-yoga\/.*|graphql-ws(\/.*)?|graphql-jit)$/, (file) => file.startsWith('src/graphql/')],
    [/^(fastify|@fastify\/.*)$/, (file) => file.startsWith('shim/') || ['src/graphql/http.ts', 'src/server.ts'].includes(file)],
    [
      /^(undici|node:https?)$/,
      (file) => file.startsWith('shim/') || ['src/main.ts', 'src/server.ts', 'src/graphql/http.ts'].includes(file),
    ],
  ]
  const wrong = product.flatMap(({ file, imports }) =>
    imports
      .filter(
        ({ target, local, typeOnly }) =>
          !local && !(typeOnly && target.startsWith('node:')) && homes.some(([name, at]) => name.test(target) && !at(file)),
      )
      .map(({ target }) => `${file} imports ${target}`),
  )
  none(wrong)
})

test('SQL stands in storage and Matrix paths in the shim', () => {
  const sql = /\b(SELECT\s[\s\S]*\bFROM|INSERT INTO|DELETE FROM|UPDATE \S+ SET|CREATE (TABLE|INDEX)|PRAGMA )/
  const wrong: string[] = []
  for (const source of product) {
    if (!source.file.startsWith('src/')) continue
    for (const text of source.strings) {
      if (!source.file.startsWith('src/storage/') && sql.test(text)) wrong.push(`${source.file}: SQL "${text.slice(0, 60)}"`)
      if (text.includes('/_matrix')) wrong.push(`${source.file}: "${text.slice(0, 60)}"`)
    }
  }
  none(wrong)
})

test('time, chance, settings, the terminal and the network are asked for in one place', () => {
  const tokens: [RegExp, readonly string[]][] = [
    [/\bconsole\./, []],
    [/\bDate\.now\(|\bnew Date\(\)/, ['src/ports.ts']],
    [/\bMath\.random\(|\b(randomBytes|randomUUID|randomInt|getRandomValues)\b/, ['src/ports.ts']],
    [/\bprocess\.env\b/, ['src/main.ts', 'src/launch.mjs']],
    [/\bprocess\.(stdout|stderr|argv|on|exit)\b/, ['src/main.ts', 'src/launch.mjs']],
    [/(?<![.\w])fetch\(/, ['src/commands/ask.ts', 'shim/outbound/http.ts']],
    // The launcher imports what it starts, so this is false there.
    [/\bimport\.meta\.main\b/, []],
  ]
  const wrong: string[] = []
  for (const source of product) {
    if (source.file.startsWith('src/dashboard/')) continue
    for (const [token, homes] of tokens) {
      const found = homes.includes(source.file) ? null : token.exec(source.code)
      if (found) wrong.push(`${source.file}: ${found[0]}`)
    }
  }
  for (const source of sources) if (/\bimport\.meta\.main\b/.test(source.code)) wrong.push(`${source.file}: import.meta.main`)
  none([...new Set(wrong)])
})

test('no file imports itself by a detour', () => {
  const cycles: string[] = []
  const done = new Set<string>()
  const path: string[] = []
  const visit = (file: string) => {
    const at = path.indexOf(file)
    if (at >= 0) cycles.push([...path.slice(at), file].join(' → '))
    if (at >= 0 || done.has(file)) return
    path.push(file)
    for (const { target } of valuesOf(file)) visit(target)
    path.pop()
    done.add(file)
  }
  for (const { file } of sources) visit(file)
  none(cycles)
})

/** Types vanish before anything runs: they cannot close a circle. */
function valuesOf(file: string): readonly Import[] {
  return (byFile.get(file)?.imports ?? []).filter(({ local, typeOnly }) => local && !typeOnly)
}

test('no file only re-exports', () => {
  const statement = /\bexport\s+(?:type\s+)?(?:\*(?:\s+as\s+\w+)?|\{[^}]*\})\s*from\s*''\s*;?/g
  none(product.filter(({ code }) => statement.test(code) && code.replaceAll(statement, '').trim() === '').map(({ file }) => file))
})

test('a file has 400 lines at most, or says why', () => {
  none(
    sources
      .filter((source) => source.lines > 400 && !isGenerated(source) && !/More than 400 lines:/.test(source.text))
      .map(({ file, lines }) => `${file}: ${lines} lines`),
  )
})

test('no file is dead', () => {
  const isRoot = (file: string) =>
    /^src\/(main\.ts|launch\.mjs)$|^scripts\/|^[^/]+\.ts$|^prisma\/|\.test\.ts$|^test\/(bench|fuzz)\/main\.ts$|^test\/bench\/flood\.ts$|^test\/kill\/server\.ts$|^test\/rig\/(run|reporter|record|demo)\.ts$/.test(
      file,
    )
  const alive = new Set<string>()
  const visit = (file: string) => {
    if (alive.has(file)) return
    alive.add(file)
    for (const { target, local } of byFile.get(file)?.imports ?? []) if (local) visit(target)
  }
  const roots = sources.map(({ file }) => file).filter(isRoot)
  // What only its own test imports is dead as well.
  for (const file of roots.filter((name) => !name.startsWith('test/'))) visit(file)
  const unused = product.filter((source) => !alive.has(source.file) && !isGenerated(source))
  for (const file of roots) visit(file)
  const rest = sources.filter(({ file }) => !alive.has(file) && !/^(src|shim)\//.test(file))
  none([...(existsSync(join(root, 'src', 'main.ts')) ? unused : []), ...rest].map(({ file }) => file))
})

/** Everything else names an operation of the schema. */
const handlers = [
  ...['uploadContent', 'uploadContentToMXC', 'uploadContentToUrl', 'getContent', 'getContentOverrideName', 'getContentThumbnail'],
  ...['getContentAuthed', 'getContentOverrideNameAuthed', 'getContentThumbnailAuthed'],
  'connectBridge',
  ...['provisionGet', 'provisionPost', 'provisionPut', 'provisionPatch', 'provisionDelete'],
]

test('only bytes, redirects, the provisioning proxy and the websocket of appservices have a handler of their own', async () => {
  const path = join(root, 'shim', 'table.ts')
  if (!existsSync(path)) return
  const { allEndpoints } = (await import(pathToFileURL(path).href)) as { allEndpoints: readonly { name: string; kind: string }[] }
  none(
    allEndpoints
      .filter(({ name, kind }) => (kind === 'handler' || kind === 'upgrade') !== handlers.includes(name))
      .map(({ name, kind }) => `${name}: ${kind}`),
  )
})

test('schema.graphql is what the code says', async () => {
  const [code, printed] = ['schema.ts', 'schema.graphql'].map((name) => join(root, 'src', 'graphql', name))
  if (!existsSync(code!) || !existsSync(printed!)) return
  const { schema } = (await import(pathToFileURL(code!).href)) as { schema: import('graphql').GraphQLSchema }
  const { lexicographicSortSchema, printSchema } = await import('graphql')
  const text = readFileSync(printed!, 'utf8').trim()
  assert.ok(
    [schema, lexicographicSortSchema(schema)].some((each) => printSchema(each).trim() === text),
    'stale: run npm run codegen',
  )
})

test('tables.ts is what the models say', async () => {
  const { tables } = (await import(pathToFileURL(join(root, 'src', 'storage', 'tables.ts')).href)) as { tables: Record<string, TableShape> }
  assert.deepEqual(
    tables,
    Object.fromEntries(
      globSync('prisma/models/*.prisma', { cwd: root })
        .sort()
        .flatMap((file) => readModels(readFileSync(join(root, file), 'utf8'))),
    ),
  )
})

interface TableShape {
  name: string
  columns: Record<string, string>
  key: string[]
  unique: string[][]
}

function readModels(text: string): [string, TableShape][] {
  const sqlTypes: Record<string, string> = { Int: 'int', BigInt: 'bigint', String: 'text' }
  const listIn = (line: string) =>
    /\[([^\]]*)\]/
      .exec(line)?.[1]
      ?.split(',')
      .map((name) => name.trim()) ?? []
  return [...text.matchAll(/^model (\w+) \{\n([\s\S]*?)^\}/gm)].map(([, model = '', body = '']) => {
    const table: TableShape = { name: model, columns: {}, key: [], unique: [] }
    const single: string[][] = []
    for (const line of body.split('\n').map((each) => each.trim())) {
      const field = /^(\w+)\s+(Int|BigInt|String)\b/.exec(line)
      if (field) table.columns[field[1]!] = sqlTypes[field[2]!]!
      if (field && /\s@id\b/.test(line)) table.key = [field[1]!]
      if (field && /\s@unique\b/.test(line)) single.push([field[1]!])
      if (line.startsWith('@@id')) table.key = listIn(line)
      if (line.startsWith('@@unique')) table.unique.push(listIn(line))
      if (line.startsWith('@@map')) table.name = /"(\w+)"/.exec(line)?.[1] ?? model
    }
    table.unique.push(...single)
    return [model[0]!.toLowerCase() + model.slice(1), table]
  })
}

test('every setting is documented, with its default', () => {
  const code = readFileSync(join(root, 'src', 'config.ts'), 'utf8')
  const read = [...code.matchAll(/\bread\(\s*'([A-Z_]+)',\s*(?:'([^']*)'|([^,]+)),/g)].map(([, name = '', literal, expression]) => ({
    name,
    literal,
    expression,
  }))
  assert.ok(read.length > 0)
  const rows = readFileSync(join(root, 'docs', 'configuration.md'), 'utf8').matchAll(/^\| `([A-Z_]+)` \| ([^|]*) \|/gm)
  const documented = new Map([...rows].map(([, name = '', text = '']) => [name, text.trim()]))
  const wrong = read.flatMap(({ name, literal }) => {
    const text = documented.get(name)
    if (text === undefined) return [`${name} is not documented`]
    return literal && text !== `\`${literal}\`` ? [`${name}: the default is ${literal}, the page says ${text}`] : []
  })
  none([
    ...wrong,
    ...[...documented.keys()]
      .filter((name) => !read.some((each) => each.name === name))
      .map((name) => `${name} is documented and not read`),
  ])
})

test('dependencies are pinned exactly and no address of a registry is kept', () => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, Record<string, string>>
  const all = ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((kind) => Object.entries(manifest[kind] ?? {}))
  none(all.filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)).map(([name, version]) => `${name}: ${version}`))
  assert.doesNotMatch(readFileSync(join(root, 'package-lock.json'), 'utf8'), /"resolved": "https?:/)
})

test('npm ci finds every package in the lock file, those for other systems too', () => {
  type Locked = Partial<Record<'dependencies' | 'optionalDependencies', Record<string, string>>>
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, Locked> }
  const locked = new Set(Object.keys(packages).map((path) => path.replace(/^.*node_modules\//, '')))
  const named = Object.values(packages).flatMap((each) => Object.keys({ ...each.dependencies, ...each.optionalDependencies }))
  none([...new Set(named)].filter((name) => !locked.has(name)))
})

test('nothing in the repository belongs to one machine', () => {
  const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 10_000_000,
  }).split('\0')
  const escaped = [root, homedir()].map((path) => path.replaceAll(/[^\w/]/g, '\\$&'))
  const machine = new RegExp(`(?<![\\w.])(${escaped.join('|')}|/home/\\w+|/Users/\\w+)(?![\\w-])|\\bregistry\\.[a-z]+\\.[a-z]+`)
  const wrong: string[] = []
  for (const file of new Set(files)) {
    if (!file || !lstatSync(join(root, file), { throwIfNoEntry: false })?.isFile() || /\.(png|jpe?g|gif|webp|ico|db|sum)$/.test(file))
      continue
    const text = readFileSync(join(root, file), 'utf8')
    const found = machine.exec(text)
    if (found) wrong.push(`${file}: ${text.slice(found.index, found.index + 60).split('\n')[0]}`)
  }
  none(wrong)
})

function none(wrong: readonly string[]): void {
  assert.ok(wrong.length === 0, `\n${wrong.join('\n')}`)
}
