/** Frames of `fi.mau.as_sync`: one JSON object in one text message. Ids are integers and counted by each side for itself; 0 or none: no answer wanted. */
import { MatrixError } from '../src/errors.ts'
import type { JsonObject } from '../src/rules/values.ts'
import { readJson } from './wire.ts'

/** Bridges read no larger message: what we send stays below. */
export const mostSentBytes = 52_428_800

/** The largest id: bridges keep it in 32 bits. */
export const lastId = 2 ** 31 - 1

export interface Frame {
  /** null: no answer is wanted */
  readonly id: number | null
  readonly command: string
  /** whatever the command means by it */
  readonly data: unknown
}

/** Errors: M_NOT_JSON, M_BAD_JSON (nested too deeply, no object, a field of the wrong type). */
export function readFrame(bytes: Buffer): Frame {
  const frame = readJson(bytes, false)
  if (typeof frame !== 'object' || frame === null || Array.isArray(frame)) throw new MatrixError('M_BAD_JSON', 'A frame is a JSON object')
  const { id, command, data } = frame as Readonly<Record<string, unknown>>
  if (typeof command !== 'string') throw new MatrixError('M_BAD_JSON', 'command must be a string')
  if (id !== undefined && id !== null && !Number.isSafeInteger(id)) throw new MatrixError('M_BAD_JSON', 'id must be an integer')
  return { id: (id as number | null | undefined) || null, command, data }
}

/** Heisenbridge ends when a frame has no `status` or no `command`. */
export function connectFrame(): string {
  return '{"command":"connect","status":"connected"}'
}

/** `body` is the transaction as it is pushed over HTTP, a JSON object that is not empty: its keys stand in the frame itself. */
export function transactionFrame(id: number, txnId: string, body: string): string {
  return `{"id":${id},"command":"transaction","status":"ok","txn_id":${JSON.stringify(txnId)},${body.slice(1)}`
}

export function requestFrame(id: number, command: string, data: JsonObject): string {
  return JSON.stringify({ id, command, status: 'ok', data })
}

export function responseFrame(id: number, data: object): string {
  return JSON.stringify({ id, command: 'response', status: 'ok', data })
}

export function errorFrame(id: number, code: string, message: string): string {
  return JSON.stringify({ id, command: 'error', status: 'error', data: { code, message } })
}

/** Close codes, and what bridges read of the reason. 4001 ends the bridge's process; after the others it connects again. */
export const farewells = {
  replaced: [4001, 'conn_replaced'],
  notAcknowledged: [4002, 'transactions_not_acknowledged'],
  leaving: [1012, 'server_shutting_down'],
  registrationChanged: [1008, 'registration_changed'],
  badFrame: [1007, 'bad_frame'],
  tooLarge: [1009, 'frame_too_large'],
} as const

export type Farewell = keyof typeof farewells

export function closeReason(why: Farewell): string {
  return JSON.stringify({ command: 'disconnect', status: farewells[why][1] })
}
