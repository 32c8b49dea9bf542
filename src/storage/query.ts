/**
 * Finds as SQL. The text is made once per shape (table, columns, kinds of condition, order) and kept; values always travel as
 * parameters. Identifiers come from tables.ts only, and every text but a register's begins with the instance's key.
 */
import type { Condition, Value } from './storage.ts'
import { type ColumnType, type Table, type TableName, tables } from './tables.ts'

/** What differs between the two engines. SQL is written with `?`; `finish` turns it into what the driver wants. */
export interface Dialect {
  readonly name: 'sqlite' | 'postgresql'
  /** `column IN list`, the list being one parameter */
  among(column: string, type: ColumnType): string
  list(values: readonly Value[]): unknown
  /** appended to a text column that is compared or sorted, so that both engines go by code points */
  readonly collate: string
  /** stands before OFFSET where there is no LIMIT */
  readonly noLimit: string
  finish(sql: string): string
}

export interface Query {
  readonly sql: string
  readonly parameters: readonly unknown[]
}

/** A find over any table, as query.ts sees it. */
export interface AnyFind {
  readonly where: { readonly [column: string]: Condition | undefined }
  readonly orderBy?: readonly string[]
  readonly limit?: number
  readonly offset?: number
}

/** Texts kept per shard; the shapes come from code, so this is only a guard. */
const mostShapes = 2_000

const bounds = { gt: '>', gte: '>=', lt: '<', lte: '<=' } as const

export class Queries {
  readonly dialect: Dialect
  private readonly shapes = new Map<string, string>()

  constructor(dialect: Dialect) {
    this.dialect = dialect
  }

  /** The query of a find, or null when an empty list makes the answer empty. `instance` null: a register is looked up. */
  rows(table: TableName, instance: number | null, find: AnyFind): Query | null {
    return this.make('rows', table, instance, find)
  }

  /** The same, of which only the primary keys are answered. */
  keys(table: TableName, instance: number | null, find: AnyFind): Query | null {
    return this.make('keys', table, instance, find)
  }

  count(table: TableName, instance: number | null, find: AnyFind): Query | null {
    return this.make('count', table, instance, find)
  }

  private make(kind: Answered, table: TableName, instance: number | null, find: AnyFind): Query | null {
    const parameters: unknown[] = []
    const conditions: string[] = []
    if (instance !== null) parameters.push(instance)
    for (const column in find.where) {
      const operator = this.condition(find.where[column], column, parameters)
      if (operator === null) return null
      conditions.push(`${column} ${operator}`)
    }
    let shape = `${kind} ${table} ${instance === null ? '' : 'own'} ${conditions.join()}`
    if (find.orderBy) shape += ` by ${find.orderBy.join()}`
    if (find.limit !== undefined) {
      shape += ' limit'
      parameters.push(whole(find.limit))
    }
    if (find.offset !== undefined) {
      shape += ' offset'
      parameters.push(whole(find.offset))
    }
    let sql = this.shapes.get(shape)
    if (sql === undefined) {
      sql = this.dialect.finish(this.text(kind, table, instance !== null, conditions, find))
      if (this.shapes.size >= mostShapes) this.shapes.clear()
      this.shapes.set(shape, sql)
    }
    return { sql, parameters }
  }

  /** Pushes the condition's parameters and names its kind; null when nothing can fulfil it. */
  private condition(condition: Condition | undefined, column: string, parameters: unknown[]): string | null {
    if (condition === null) return 'null'
    if (typeof condition === 'string' || typeof condition === 'number') {
      parameters.push(checked(condition))
      return '='
    }
    // Skipping an undefined condition would widen the answer.
    if (condition === undefined) throw new TypeError(`condition on ${column} is undefined`)
    if ('in' in condition) {
      const values = condition.in.filter((value) => value !== null)
      const orNull = values.length < condition.in.length
      if (values.length === 0) return orNull ? 'null' : null
      for (const value of values) checked(value)
      parameters.push(this.dialect.list(values))
      return orNull ? 'inOrNull' : 'in'
    }
    if ('not' in condition) {
      if (condition.not === null) return 'notNull'
      parameters.push(checked(condition.not))
      return 'not'
    }
    if ('startsWith' in condition) {
      if (condition.startsWith === '') return 'notNull'
      parameters.push(condition.startsWith)
      const after = afterPrefix(condition.startsWith)
      if (after === null) return 'from'
      parameters.push(after)
      return 'prefix'
    }
    let kinds = ''
    for (const bound in bounds) {
      const value = condition[bound as keyof typeof bounds]
      if (value === undefined) continue
      parameters.push(checked(value))
      kinds += ` ${bound}`
    }
    if (kinds === '') throw new TypeError(`condition on ${column} is empty`)
    return kinds.trimStart()
  }

  private text(kind: Answered, table: TableName, own: boolean, conditions: readonly string[], find: AnyFind): string {
    const described: Table = tables[table]
    const clauses: string[] = []
    if (own) clauses.push(`"${instanceColumn(table)}" = ?`)
    for (const condition of conditions) {
      const [column = '', ...operators] = condition.split(' ')
      if (own && column === instanceColumn(table)) throw new TypeError(`${table}.${column} is bound by the storage`)
      for (const operator of operators) clauses.push(this.clause(named(described, column), typeOf(described, column), operator))
    }
    let sql = `SELECT ${selectedBy(kind, described)} FROM "${described.name}"`
    if (clauses.length > 0) sql += ` WHERE ${clauses.join(' AND ')}`
    if (find.orderBy?.length) sql += ` ORDER BY ${find.orderBy.map((order) => this.order(described, order)).join(', ')}`
    if (find.limit !== undefined) sql += ' LIMIT ?'
    if (find.offset !== undefined) sql += `${find.limit === undefined ? this.dialect.noLimit : ''} OFFSET ?`
    return sql
  }

  private clause(column: string, type: ColumnType, operator: string): string {
    const compared = type === 'text' ? column + this.dialect.collate : column
    switch (operator) {
      case '=':
        return `${column} = ?`
      case 'null':
        return `${column} IS NULL`
      case 'notNull':
        return `${column} IS NOT NULL`
      case 'not':
        return `${column} IS DISTINCT FROM ?`
      case 'in':
        return this.dialect.among(column, type)
      case 'inOrNull':
        return `(${this.dialect.among(column, type)} OR ${column} IS NULL)`
      case 'from':
        return `${compared} >= ?`
      case 'prefix':
        return `${compared} >= ? AND ${compared} < ?`
      default:
        return `${compared} ${bounds[operator as keyof typeof bounds]} ?`
    }
  }

  private order(table: Table, order: string): string {
    const descending = order.startsWith('-')
    const column = descending ? order.slice(1) : order
    const collate = typeOf(table, column) === 'text' ? this.dialect.collate : ''
    return `${named(table, column)}${collate}${descending ? ' DESC' : ''}`
  }
}

type Answered = 'rows' | 'keys' | 'count'

function selectedBy(kind: Answered, table: Table): string {
  if (kind === 'count') return 'count(*) AS "count"'
  return kind === 'rows' ? columnList(table) : table.key.map((column) => `"${column}"`).join(', ')
}

/** A thread is gone through in the database, however long it is, and comes out as one row. */
export const relatedColumns = `l."room", l."parent", l."relType", max(l."order") AS "order", max(l."type") AS "type", max(l."sender") AS "sender",
  count(*) AS "count", max(CASE WHEN l."sender" = r."user" THEN 1 ELSE 0 END) AS "participated"`
export const relatedGroups = `GROUP BY l."room", l."parent", l."relType", CASE WHEN l."relType" = 'm.thread' THEN 0 ELSE l."order" END`

/** The column that holds the instance's key; ownerId, mediaId and secret have it outside their own key. */
export function instanceColumn(table: TableName): string {
  return table === 'instance' ? 'key' : 'instance'
}

/** All columns of a table for a SELECT, in the order of its description. */
export function columnList(table: Table, alias = ''): string {
  const prefix = alias === '' ? '' : `${alias}.`
  return Object.keys(table.columns)
    .map((column) => `${prefix}"${column}"`)
    .join(', ')
}

function typeOf(table: Table, column: string): ColumnType {
  const type = Object.hasOwn(table.columns, column) ? table.columns[column] : undefined
  if (type === undefined) throw new TypeError(`${table.name} has no column ${column}`)
  return type
}

function named(table: Table, column: string): string {
  typeOf(table, column)
  return `"${column}"`
}

/** Both drivers would store or compare something else in silence. */
function checked(value: Value): Value {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) throw new RangeError(`${value} is not a safe integer`)
  return value
}

function whole(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no count of rows`)
  return value
}

/** The least text behind every text with this prefix, by code points; null when there is none. */
export function afterPrefix(prefix: string): string | null {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0)
  while (points.length > 0) {
    const last = points.pop() ?? 0
    if (last >= 0x10ffff) continue
    // Surrogates are no characters: the one behind U+D7FF is U+E000.
    points.push(last === 0xd7ff ? 0xe000 : last + 1)
    return String.fromCodePoint(...points)
  }
  return null
}
