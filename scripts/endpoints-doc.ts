/**
 * Writes docs/endpoints.md from the endpoint table, test/spec/operations.json and (with `check`) the requests of the last whole `npm test`.
 * `check` writes nothing: it fails when the page is stale, when the table and the specification disagree, and when an operation that
 * `works` was not seen both to succeed and to refuse.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Operation, readOperations } from '../test/spec/operations.ts'

interface Row {
  readonly name: string
  readonly method: string
  readonly path: string
  readonly auth: string
  readonly section: string
  readonly puppet: boolean
  readonly kind: string
  readonly aliases: readonly string[]
  readonly status?: unknown
  readonly body?: unknown
}

interface Seen {
  readonly method: string
  readonly path: string
  readonly status: number
}

const root = join(import.meta.dirname, '..')
const page = join(root, 'docs', 'endpoints.md')
const record = process.env['REQUEST_RECORD'] ?? join(root, 'dist', 'requests.jsonl')

const table = await readTable()
const operations = readOperations()
const problems: string[] = []
const text = render()
if (process.argv[2] === 'check') {
  if (!existsSync(page) || readFileSync(page, 'utf8') !== text)
    problems.push('docs/endpoints.md is stale: run node src/launch.mjs scripts/endpoints-doc.ts')
  checkTable()
  checkRecord()
  for (const problem of problems) process.stdout.write(`${problem}\n`)
  process.exitCode = problems.length > 0 ? 1 : 0
} else {
  writeFileSync(page, text)
}

async function readTable(): Promise<readonly Row[]> {
  const path = join(root, 'shim', 'table.ts')
  if (!existsSync(path)) return []
  const found = (await import(pathToFileURL(path).href)) as { allEndpoints: readonly Row[] }
  return found.allEndpoints
}

/** An alias or a second version of an endpoint is the same endpoint. */
function endpointOf(operation: Operation): Row | undefined {
  return table.find(
    (row) => row.method === operation.method && [row.path, ...row.aliases].some((path) => shape(path) === shape(operation.path)),
  )
}

function shape(path: string): string {
  return path.replaceAll(/\{\w+\}/g, '{}')
}

function stateOf(operation: Operation): Operation['state'] {
  if (operation.state !== 'works' || operation.outbound) return operation.state
  const row = endpointOf(operation)
  return row && row.kind !== 'fixed' ? 'works' : 'planned'
}

function render(): string {
  const listed = operations.map((operation) => ({ operation, state: stateOf(operation) }))
  const own = ownRows()
  const count = (state: string) => listed.filter((entry) => entry.state === state && entry.operation.source === 'spec').length
  const lines = [
    '# Endpoints',
    '',
    'Written by `node src/launch.mjs scripts/endpoints-doc.ts`. Do not edit.',
    '',
    `Every operation of the Matrix specification v1.19, what clients use beside it, and Hungryserv's own. Of the specification's ${count('works') + count('answers') + count('planned')} operations`,
    `${count('works')} work, ${count('answers')} answer and ${count('planned')} are planned.`,
    '',
    '- **works**: does what the specification says; the tests have seen it succeed and refuse.',
    '- **answers**: always gives the reply shown, because the feature makes no sense here or a client must be told that it is absent.',
    '- **planned**: 404 `M_UNRECOGNIZED`, which clients take as "not supported".',
    '',
    'Every path under `/_matrix/client/v3` also answers under `r0`, every path under `/_matrix/media/v3` under `r0` and `v1`, and all of them under',
    '`/_hungryserv/{instance}`. *Puppet*: an appservice may use it as the owner of the homeserver.',
  ]
  for (const [section, entries] of Map.groupBy(listed, ({ operation }) => operation.section)) {
    lines.push('', `## ${section}`, '', '| Method | Path | Name | Auth | Puppet | State |', '|---|---|---|---|---|---|')
    for (const { operation, state } of entries) {
      const row = endpointOf(operation)
      const auth = `${row?.auth ?? operation.auth}${operation.reauthentication ? ', password again' : ''}`
      lines.push(
        `| ${operation.method} | \`${operation.path}\` | ${operation.operationId ?? operation.aliasOf ?? ''} | ${auth} | ${row?.puppet ? 'yes' : ''} | ${state}${reply(operation, state)} |`,
      )
    }
  }
  if (own.length > 0)
    lines.push('', "## Hungryserv's own", '', '| Method | Path | Name | Auth | Puppet | State |', '|---|---|---|---|---|---|')
  for (const row of own) lines.push(`| ${row.method} | \`${row.path}\` | ${row.name} | ${row.auth} | ${row.puppet ? 'yes' : ''} | works |`)
  return `${lines.join('\n')}\n`
}

function reply({ answer }: Operation, state: string): string {
  if (state !== 'answers' || !answer) return ''
  return `: ${answer.status} \`${answer.errcode ?? JSON.stringify(answer.body)}\``
}

/** What the table has and no list names: bridge states, provisioning. */
function ownRows(): readonly Row[] {
  const known = new Set(operations.map((operation) => `${operation.method} ${shape(operation.path)}`))
  return table.filter(
    (row) => row.kind !== 'fixed' && ![row.path, ...row.aliases].some((path) => known.has(`${row.method} ${shape(path)}`)),
  )
}

function checkTable(): void {
  for (const operation of operations) {
    if (operation.outbound) continue
    const name = `${operation.method} ${operation.path}`
    const row = endpointOf(operation)
    // One path, two operations: the other one's row stands for both.
    const shared = operations.some(
      (other) => other !== operation && other.method === operation.method && other.path === operation.path && other.state === 'works',
    )
    if (operation.state === 'works') {
      if (!row || row.kind === 'fixed') problems.push(`${name}: should work and has no endpoint`)
      else checkRow(operation, row)
    } else if (row && row.kind !== 'fixed' && !shared) {
      problems.push(`${name}: is "${operation.state}" in test/spec/operations.json and has an endpoint`)
    } else if (row?.kind === 'fixed') {
      const body = row.body as { errcode?: string }
      const same = operation.answer?.errcode
        ? body.errcode === operation.answer.errcode
        : JSON.stringify(body) === JSON.stringify(operation.answer?.body)
      if (row.status !== operation.answer?.status || !same)
        problems.push(`${name}: answers something else than test/spec/operations.json says`)
    } else if (!row && operation.answer?.errcode !== 'M_UNRECOGNIZED') {
      problems.push(`${name}: should answer ${operation.answer?.status} and has no endpoint`)
    }
  }
}

function checkRow(operation: Operation, row: Row): void {
  const name = `${operation.method} ${operation.path}`
  if (operation.operationId && row.name !== operation.operationId)
    problems.push(`${name}: is called ${row.name}, the specification says ${operation.operationId}`)
  // Where a token may be missing it may also stand unread.
  const unread = operation.auth === 'accessTokenOptional' && row.auth === 'none'
  const agrees = row.auth === operation.auth || row.auth === 'accessTokenOptional' || unread
  if (!agrees) problems.push(`${name}: has auth ${row.auth}, the specification says ${operation.auth}`)
}

function checkRecord(): void {
  if (!existsSync(record)) {
    problems.push('no record of requests: run the whole of npm test first')
    return
  }
  const lines = new Set(readFileSync(record, 'utf8').split('\n').filter(Boolean))
  const requests = Array.from(lines, (line) => JSON.parse(line) as Seen)
  const seen = Map.groupBy(requests, (request) => request.method)
  const works = [
    ...operations.filter((operation) => operation.state === 'works'),
    ...ownRows().map((row) => ({ ...row, neverRefuses: false })),
  ]
  for (const { method, path, neverRefuses } of works) {
    const statuses = (seen.get(method) ?? []).filter((request) => matches(path, request.path)).map((request) => request.status)
    if (!statuses.some((status) => status < 400)) problems.push(`${method} ${path}: works, and no test has seen it succeed`)
    if (!neverRefuses && !statuses.some((status) => status >= 400 && status < 500))
      problems.push(`${method} ${path}: works, and no test has seen it refuse`)
  }
}

/** The record may hold templates or addresses as they were requested. */
function matches(template: string, requested: string): boolean {
  const path = requested
    .replace(/\?.*$/, '')
    .replace(/^\/_hungryserv\/[^/]+(?=\/)/, '')
    .replace(/^(\/_matrix\/client)\/r0\//, '$1/v3/')
  const spellings = path.startsWith('/_matrix/media/') ? [path, path.replace(/\/(r0|v1)\//, '/v3/')] : [path]
  const parts = template.split('/')
  return spellings.some((spelling) => {
    // A proxy answers under whatever follows.
    const given = template.endsWith('/*') ? [...spelling.split('/').slice(0, parts.length - 1), '*'] : spelling.split('/')
    return given.length === parts.length && parts.every((part, i) => part === given[i] || part.startsWith('{'))
  })
}
