/** What one command does to storage: rows to put, keys to remove, and a closed list of removals by range. */
import { type Rows, type TableName, tables } from './tables.ts'

/** Removals that name no key. Each is one statement; the list is closed so that nothing slow can hide in a commit. */
export interface RangeRemovals {
  /** unread marks of a user in a room up to an order, of one thread or of all */
  notifications: { user: number; room: number; upTo: number; thread?: string }
  /** everything that was delivered to an appservice */
  interest: { appservice: number; upTo: number }
  /** messages of a device up to a position */
  toDevice: { user: number; deviceId: string; upTo: number }
  /** one-time keys of a device, handed out or not */
  oneTimeKeys: { user: number; deviceId: string }
}
export type RangeKind = keyof RangeRemovals

export type Operation =
  | { readonly kind: 'put'; readonly table: TableName; readonly key: string; readonly row: Readonly<Record<string, unknown>> }
  | { readonly kind: 'remove'; readonly table: TableName; readonly key: string; readonly row: Readonly<Record<string, unknown>> }
  | { readonly kind: 'range'; readonly range: RangeKind; readonly arguments: RangeRemovals[RangeKind] }

export type KeyOf<T extends TableName> = Pick<Rows[T], Extract<(typeof tables)[T]['key'][number], keyof Rows[T]>>

export class ChangeSet {
  readonly instance: number
  readonly operations: Operation[] = []
  /** highest position taken by it; 0 when it took none */
  position = 0
  /** rough size in bytes, for the bounds of the queue */
  weight = 0

  constructor(instance: number) {
    this.instance = instance
  }

  get isEmpty(): boolean {
    return this.operations.length === 0
  }

  /** The row replaces the one with the same primary key. */
  put<T extends TableName>(table: T, row: Rows[T]): void {
    this.operations.push({ kind: 'put', table, key: keyText(table, row), row: row as never })
    this.weight += weigh(row as never)
  }

  remove<T extends TableName>(table: T, key: KeyOf<T>): void {
    this.operations.push({ kind: 'remove', table, key: keyText(table, key as never), row: key as never })
    this.weight += 64
  }

  removeRange<K extends RangeKind>(range: K, args: RangeRemovals[K]): void {
    this.operations.push({ kind: 'range', range, arguments: args })
    this.weight += 64
  }
}

/** The primary key as one text; parts are separated by NUL, which no identifier contains. */
export function keyText<T extends TableName>(table: T, row: Rows[T] | KeyOf<T>): string {
  let text = ''
  for (const column of tables[table].key) text += `${(row as never)[column]}\0`
  return text
}

function weigh(row: Readonly<Record<string, unknown>>): number {
  let bytes = 32
  for (const name in row) {
    const value = row[name]
    bytes += typeof value === 'string' ? value.length : 8
  }
  return bytes
}
