/** Chance that can be had again: everything random in these tests comes from one seed, which is printed. */

export class Chance {
  readonly seed: number
  private state: number

  constructor(seed: number) {
    this.seed = seed
    this.state = seed >>> 0
  }

  /** 0 ≤ x < 1 (mulberry32) */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let x = this.state
    x = Math.imul(x ^ (x >>> 15), x | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }

  between(lowest: number, highest: number): number {
    return lowest + Math.floor(this.next() * (highest - lowest + 1))
  }

  of<T>(list: readonly T[]): T {
    return list[this.between(0, list.length - 1)]!
  }

  happens(probability: number): boolean {
    return this.next() < probability
  }
}

/** From KILL_SEED, else a new one. */
export function chooseSeed(): number {
  const given = process.env['KILL_SEED']
  return given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given)
}
