/** The writing statements of SQLite, one row at a time: in a thread of its own that is as fast as any bulk form. */
import type { RangeKind } from './change-set.ts'
import { type Table, tables } from './tables.ts'

export function upsertText(table: keyof typeof tables): string {
  const described: Table = tables[table]
  const names = Object.keys(described.columns)
  const rest = names.filter((name) => !described.key.includes(name))
  const action = rest.length === 0 ? 'NOTHING' : `UPDATE SET ${rest.map((name) => `"${name}" = excluded."${name}"`).join(', ')}`
  return `INSERT INTO "${described.name}" (${quoted(names)}) VALUES (${names.map(() => '?').join(', ')}) ON CONFLICT (${quoted(described.key)}) DO ${action}`
}

export function removeText(table: keyof typeof tables): string {
  const described: Table = tables[table]
  return `DELETE FROM "${described.name}" WHERE ${described.key.map((name) => `"${name}" = ?`).join(' AND ')}`
}

/** Parameters by name: the instance and the range's own arguments; `thread` null means all threads. */
export const rangeTexts: Record<RangeKind, string> = {
  notifications:
    'DELETE FROM "notification" WHERE "instance" = @instance AND "user" = @user AND "room" = @room AND "order" <= @upTo AND (@thread IS NULL OR "thread" = @thread)',
  interest: 'DELETE FROM "interest" WHERE "instance" = @instance AND "appservice" = @appservice AND "position" <= @upTo',
  toDevice: 'DELETE FROM "to_device" WHERE "instance" = @instance AND "user" = @user AND "deviceId" = @deviceId AND "position" <= @upTo',
  oneTimeKeys: 'DELETE FROM "one_time_key" WHERE "instance" = @instance AND "user" = @user AND "deviceId" = @deviceId',
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ')
}
