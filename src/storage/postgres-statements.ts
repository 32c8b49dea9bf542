/** The writing statements of PostgreSQL: one constant text per table, rows as column arrays through `unnest`. */
import type { RangeKind } from './change-set.ts'
import type { RangeRemoval, TableChanges } from './fold.ts'
import { type ColumnType, type Table, type TableName, tables } from './tables.ts'

export interface Statement {
  readonly name: string
  readonly text: string
  readonly values: readonly string[]
}

/** In the order in which they must run. */
export function statementsOf({ table, ranges, removals, removed, puts, put }: TableChanges): Statement[] {
  const { columns, key }: Table = tables[table]
  const statements: Statement[] = []
  for (const [kind, own] of Map.groupBy(ranges, ({ range }) => range)) statements.push(rangeStatement(kind, own))
  if (removals > 0) {
    const values = removed.map((column, i) => arrayText(columns[key[i] ?? ''] ?? 'text', column))
    statements.push({ name: `remove ${table}`, text: textOf(removeTexts, table, removeText), values })
  }
  if (puts > 0) {
    const types = Object.values(columns)
    const values = put.map((column, i) => arrayText(types[i] ?? 'text', column))
    statements.push({ name: `put ${table}`, text: textOf(upsertTexts, table, upsertText), values })
  }
  return statements
}

/** The same statement with nothing to do: run once per connection, it is parsed before several of it travel in one pipeline. */
export function idleForm(statement: Statement): Statement {
  return { ...statement, values: statement.values.map(() => '{}') }
}

const upsertTexts = new Map<TableName, string>()
const removeTexts = new Map<TableName, string>()

function textOf(texts: Map<TableName, string>, table: TableName, make: (table: Table) => string): string {
  let text = texts.get(table)
  if (text === undefined) {
    text = make(tables[table])
    texts.set(table, text)
  }
  return text
}

function upsertText({ name, columns, key }: Table): string {
  const names = Object.keys(columns)
  const rest = names.filter((column) => !key.includes(column))
  const action = rest.length === 0 ? 'NOTHING' : `UPDATE SET ${rest.map((column) => `"${column}" = EXCLUDED."${column}"`).join(', ')}`
  const arrays = Object.values(columns).map((type, i) => `$${i + 1}::${type}[]`)
  return `INSERT INTO "${name}" (${quoted(names)}) SELECT * FROM unnest(${arrays.join(', ')}) ON CONFLICT (${quoted(key)}) DO ${action}`
}

function removeText({ name, columns, key }: Table): string {
  const arrays = key.map((column, i) => `$${i + 1}::${columns[column]}[]`)
  const same = key.map((column) => `t."${column}" = r."${column}"`)
  return `DELETE FROM "${name}" t USING unnest(${arrays.join(', ')}) AS r(${quoted(key)}) WHERE ${same.join(' AND ')}`
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ')
}

const rangeTexts: Record<RangeKind, { text: string; columns: readonly [string, ColumnType][] }> = {
  notifications: {
    text: `DELETE FROM "notification" t USING unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[]) AS r("instance", "user", "room", "upTo", "thread")
      WHERE t."instance" = r."instance" AND t."user" = r."user" AND t."room" = r."room" AND t."order" <= r."upTo" AND (r."thread" IS NULL OR t."thread" = r."thread")`,
    columns: [
      ['user', 'bigint'],
      ['room', 'bigint'],
      ['upTo', 'bigint'],
      ['thread', 'text'],
    ],
  },
  interest: {
    text: `DELETE FROM "interest" t USING unnest($1::int[], $2::bigint[], $3::bigint[]) AS r("instance", "appservice", "upTo")
      WHERE t."instance" = r."instance" AND t."appservice" = r."appservice" AND t."position" <= r."upTo"`,
    columns: [
      ['appservice', 'bigint'],
      ['upTo', 'bigint'],
    ],
  },
  toDevice: {
    text: `DELETE FROM "to_device" t USING unnest($1::int[], $2::bigint[], $3::text[], $4::bigint[]) AS r("instance", "user", "deviceId", "upTo")
      WHERE t."instance" = r."instance" AND t."user" = r."user" AND t."deviceId" = r."deviceId" AND t."position" <= r."upTo"`,
    columns: [
      ['user', 'bigint'],
      ['deviceId', 'text'],
      ['upTo', 'bigint'],
    ],
  },
  oneTimeKeys: {
    text: `DELETE FROM "one_time_key" t USING unnest($1::int[], $2::bigint[], $3::text[]) AS r("instance", "user", "deviceId")
      WHERE t."instance" = r."instance" AND t."user" = r."user" AND t."deviceId" = r."deviceId"`,
    columns: [
      ['user', 'bigint'],
      ['deviceId', 'text'],
    ],
  },
}

function rangeStatement(range: RangeKind, removals: readonly RangeRemoval[]): Statement {
  const { text, columns } = rangeTexts[range]
  const values = [
    arrayText(
      'int',
      removals.map(({ instance }) => instance),
    ),
  ]
  for (const [name, type] of columns) {
    values.push(
      arrayText(
        type,
        removals.map((removal) => (removal.arguments as unknown as Record<string, unknown>)[name] ?? null),
      ),
    )
  }
  return { name: `range ${range}`, text, values }
}

/** https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO, several times faster than the driver's own form for any array. */
export function arrayText(type: ColumnType, values: readonly unknown[]): string {
  if (type !== 'text') return `{${values.map((value) => value ?? 'NULL').join(',')}}`
  return `{${values.map((value) => (value === null ? 'NULL' : `"${(value as string).replaceAll(/["\\]/g, '\\$&')}"`)).join(',')}}`
}
