/**
 * Change sets → what an engine executes. Per table the last word on each key wins, in queue order, so that one removal and one
 * upsert per table are enough: the same key twice in one upsert aborts the whole transaction on PostgreSQL.
 */
import type { ChangeSet, Operation, RangeKind, RangeRemovals } from './change-set.ts'
import { instanceColumn } from './query.ts'
import { type Table, type TableName, tables } from './tables.ts'

export interface RangeRemoval {
  readonly range: RangeKind
  readonly instance: number
  readonly arguments: RangeRemovals[RangeKind]
}

/** Executed in this order: ranges, removals, puts. Values are column arrays: cheap to hand to a thread and what `unnest` wants. */
export interface TableChanges {
  readonly table: TableName
  readonly ranges: readonly RangeRemoval[]
  readonly removals: number
  /** one array per column of the primary key */
  readonly removed: readonly (readonly unknown[])[]
  readonly puts: number
  /** one array per column of the table */
  readonly put: readonly (readonly unknown[])[]
}

/** What an instance must still be in the transaction, and the ceiling to raise to with it. */
export interface Claim {
  readonly instance: number
  readonly owner: string
  readonly epoch: number
  readonly ceiling: number | null
}

export interface Batch {
  readonly claims: readonly Claim[]
  readonly changes: readonly TableChanges[]
  readonly rows: number
}

/** The table a range removes from, and what of a row (or of the arguments) tells whether the two can meet. */
const rangeTables = {
  notifications: { table: 'notification', scope: ['user', 'room'] },
  interest: { table: 'interest', scope: ['appservice'] },
  toDevice: { table: 'toDevice', scope: ['user', 'deviceId'] },
  oneTimeKeys: { table: 'oneTimeKey', scope: ['user', 'deviceId'] },
} as const satisfies Record<RangeKind, { table: TableName; scope: readonly string[] }>

const scopes = new Map<TableName, readonly string[]>(Object.values(rangeTables).map(({ table, scope }) => [table, scope]))

type RowOperation = Exclude<Operation, { kind: 'range' }>

class Fold {
  readonly ranges: RangeRemoval[] = []
  readonly rows = new Map<string, RowOperation>()
  /** scopes of the rows above, kept for tables with a removal by range */
  readonly touched = new Set<string>()
}

/** Folds change sets in queue order. */
export function fold(changeSets: readonly ChangeSet[]): { changes: TableChanges[]; rows: number } {
  const folds = new Map<TableName, Fold[]>()
  for (const change of changeSets) {
    for (const operation of change.operations) {
      if (operation.kind === 'range') addRange(folds, change.instance, operation)
      else addRow(folds, change.instance, operation)
    }
  }
  const changes: TableChanges[] = []
  let rows = 0
  for (const [table, list] of folds) {
    for (const one of list) {
      rows += one.rows.size + one.ranges.length
      changes.push(columns(table, one))
    }
  }
  return { changes, rows }
}

function addRow(folds: Map<TableName, Fold[]>, instance: number, operation: RowOperation): void {
  const open = openFold(folds, operation.table)
  // The later word goes to the end: a unique value may have moved from one key to another in this order.
  open.rows.delete(operation.key)
  open.rows.set(operation.key, operation)
  const scope = scopes.get(operation.table)
  if (scope) open.touched.add(scopeText(instance, scope, operation.row))
}

/** A removal by range closes the fold of its table, unless none of the rows in it can be meant: then it may as well go before them. */
function addRange(folds: Map<TableName, Fold[]>, instance: number, operation: Extract<Operation, { kind: 'range' }>): void {
  const { table, scope } = rangeTables[operation.range]
  let open = openFold(folds, table)
  if (open.touched.has(scopeText(instance, scope, operation.arguments))) {
    open = new Fold()
    folds.get(table)?.push(open)
  }
  open.ranges.push({ range: operation.range, instance, arguments: operation.arguments })
}

function openFold(folds: Map<TableName, Fold[]>, table: TableName): Fold {
  const list = folds.get(table)
  const last = list?.at(-1)
  if (last) return last
  const first = new Fold()
  folds.set(table, [first])
  return first
}

function scopeText(instance: number, scope: readonly string[], values: object): string {
  let text = `${instance}`
  for (const name of scope) text += ` ${(values as Record<string, unknown>)[name]}`
  return text
}

function columns(table: TableName, folded: Fold): TableChanges {
  const described: Table = tables[table]
  const keys = described.key
  const names = Object.keys(described.columns)
  const removed: unknown[][] = keys.map(() => [])
  const put: unknown[][] = names.map(() => [])
  for (const operation of folded.rows.values()) {
    const [target, wanted] = operation.kind === 'put' ? [put, names] : [removed, keys]
    for (let i = 0; i < wanted.length; i++) target[i]?.push(operation.row[wanted[i] ?? ''])
  }
  return { table, ranges: folded.ranges, removals: removed[0]?.length ?? 0, removed, puts: put[0]?.length ?? 0, put }
}

/** Why a change set cannot be written, if so: the drivers would store something else in silence, or it holds a row of another instance. */
export function refusal(change: ChangeSet, anyInstance: boolean): TypeError | null {
  for (const operation of change.operations) {
    if (operation.kind === 'range') continue
    const described: Table = tables[operation.table]
    const own = instanceColumn(operation.table)
    if (!anyInstance && own in operation.row && operation.row[own] !== change.instance) {
      return new TypeError(`change set of instance ${change.instance} holds a ${operation.table} of ${operation.row[own]}`)
    }
    const names = operation.kind === 'put' ? Object.keys(described.columns) : described.key
    for (const name of names) {
      const value = operation.row[name]
      const fits = value === null || (described.columns[name] === 'text' ? typeof value === 'string' : Number.isSafeInteger(value))
      if (!fits) return new TypeError(`${operation.table}.${name} cannot be ${typeof value === 'number' ? value : typeof value}`)
    }
  }
  return null
}
