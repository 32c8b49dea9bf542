/**
 * Which transaction ids were surely never used: nearly every request brings a new one, and asking the database each time would cost more than
 * the rest of a send. A Bloom filter (https://en.wikipedia.org/wiki/Bloom_filter) says "new" or "perhaps known"; only the latter is looked up.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Instance, local } from '../stream/instance.ts'

/** Bits set and asked for per id: with 12 bits of room for each id, about one new id in 300 is looked up for nothing. */
const probes = 4
const bitsPerId = 12
const firstBlockBits = 1 << 15
/** Blocks double: the last one is 2 MB, and all of them hold about 2.7 million ids, which is more than anyone sends in a day. */
const mostBlocks = 10
/** Rows read at once when the ids from before this start are gathered. */
const rowsPerRead = 500

class Block {
  readonly bits: Uint32Array
  private readonly mask: number
  private room: number

  constructor(size: number) {
    this.bits = new Uint32Array(size / 32)
    this.mask = size - 1
    this.room = Math.floor(size / bitsPerId)
  }

  get isFull(): boolean {
    return this.room <= 0
  }

  add(first: number, second: number): void {
    this.room--
    for (let i = 0; i < probes; i++) {
      const bit = (first + i * second) & this.mask
      this.bits[bit >>> 5]! |= 1 << (bit & 31)
    }
  }

  has(first: number, second: number): boolean {
    for (let i = 0; i < probes; i++) {
      const bit = (first + i * second) & this.mask
      if ((this.bits[bit >>> 5]! & (1 << (bit & 31))) === 0) return false
    }
    return true
  }
}

class SeenTransactions {
  private readonly blocks: Block[] = []
  /** false until the ids from before this start are in it, and again when there are too many */
  private complete = false

  async load(instance: Instance): Promise<void> {
    let from = 0
    for (let limit = rowsPerRead; !instance.closed.aborted; ) {
      const rows = await instance.storage.find('transaction', { where: { createdAt: { gte: from } }, orderBy: ['createdAt'], limit })
      for (const row of rows) this.add(textOf(row))
      if (rows.length < limit) break
      const last = rows.at(-1)!.createdAt
      // Those of the last millisecond are read again with the next, as some may be missing here.
      limit = last === from ? limit * 2 : rowsPerRead
      from = last
      await nextTurn()
    }
    this.complete = true
  }

  /** Remembers the id. False: it was never used before. */
  mayHaveSeen(id: TransactionKey): boolean {
    const text = textOf(id)
    const first = hash(text, 0x811c9dc5)
    const second = hash(text, 0x9747b28c) | 1
    if (this.blocks.some((block) => block.has(first, second))) return true
    this.remember(first, second)
    return !this.complete || this.blocks.length > mostBlocks
  }

  private add(text: string): void {
    this.remember(hash(text, 0x811c9dc5), hash(text, 0x9747b28c) | 1)
  }

  private remember(first: number, second: number): void {
    let block = this.blocks.at(-1)
    if (!block || block.isFull) {
      // Past the last block nothing is new for sure, until the instance is opened again.
      if (this.blocks.length > mostBlocks) return
      block = new Block(firstBlockBits << this.blocks.length)
      this.blocks.push(block)
    }
    block.add(first, second)
  }
}

export interface TransactionKey {
  readonly user: number
  readonly device: string
  readonly scope: string
  readonly txnId: string
}

function textOf({ user, device, scope, txnId }: TransactionKey): string {
  return `${user}\0${device}\0${scope}\0${txnId}`
}

/** FNV-1a with a last mixing. */
function hash(text: string, seed: number): number {
  let value = seed
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  return (value ^ (value >>> 13)) >>> 0
}

const seen = local((instance) => {
  const transactions = new SeenTransactions()
  transactions.load(instance).catch((error: unknown) => instance.ports.log.warn({ err: error }, 'transaction ids were not read'))
  return transactions
})

/** False when this transaction id was surely never used; from now on it counts as used. */
export function mayHaveSeen(instance: Instance, id: TransactionKey): boolean {
  return seen(instance).mayHaveSeen(id)
}
