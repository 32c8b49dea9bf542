/** How a pattern is read, and how much of a text it must match. */
export interface GlobOptions {
  /** `*` matches any number of characters, `?` exactly one; what is not listed stands for itself. */
  readonly wildcards: '*?' | '*' | ''
  /** The whole text, or any part of it that starts and ends at a word boundary. */
  readonly match: 'whole' | 'words'
}

export type TextTest = (text: string) => boolean

/**
 * Compiles a glob. https://spec.matrix.org/v1.19/appendices/#glob-style-matching
 * Matching goes through the text once and never back, so no pattern blows up. For a match without case, lower both first.
 */
export function compileGlob(pattern: string, { wildcards, match }: GlobOptions): TextTest {
  const pieces = wildcards === '' ? [pattern] : pattern.split('*')
  const finds = pieces.map((piece) => (wildcards === '*?' && piece.includes('?') ? findWithGaps(piece) : findLiteral(piece)))
  const isWhole = match === 'whole'
  if (isWhole && pieces.length === 1 && !(wildcards === '*?' && pattern.includes('?'))) return (text) => text === pattern

  const last = finds.length - 1
  return (text) => {
    const mayStart = isWhole ? (at: number) => at === 0 : (at: number) => isBoundary(text, at)
    const mayEnd = isWhole ? (at: number) => at === text.length : (at: number) => isBoundary(text, at)
    // The leftmost place for each piece leaves the most room for the next ones, so nothing is ever tried again.
    let at = 0
    for (const [index, find] of finds.entries()) {
      at = find(text, at, index === 0 ? mayStart : anywhere, index === last ? mayEnd : anywhere)
      if (at === -1) return false
    }
    return true
  }
}

/** Where the leftmost match of a piece of a pattern ends, at or after `from`; -1 when there is none. */
type Find = (text: string, from: number, mayStart: (at: number) => boolean, mayEnd: (at: number) => boolean) => number

function anywhere(): boolean {
  return true
}

function findLiteral(literal: string): Find {
  return (text, from, mayStart, mayEnd) => {
    // indexOf('') past the end answers the end for ever.
    for (let start = from; start <= text.length; start++) {
      start = text.indexOf(literal, start)
      if (start === -1) return -1
      if (mayStart(start) && mayEnd(start + literal.length)) return start + literal.length
    }
    return -1
  }
}

/** A piece with `?`: bit i of the state says that its first i + 1 characters match those before this place (Shift-And). */
function findWithGaps(piece: string): Find {
  const characters = Array.from(piece, (character) => character.codePointAt(0) ?? 0)
  const words = Math.ceil(characters.length / 32)
  const gap = '?'.charCodeAt(0)
  const maskOf = (wanted: number): Uint32Array => {
    const mask = new Uint32Array(words)
    for (const [index, character] of characters.entries()) {
      if (character === wanted || character === gap) mask[index >>> 5]! |= 1 << (index & 31)
    }
    return mask
  }
  const masks = new Map(characters.map((character) => [character, maskOf(character)]))
  const anyOther = maskOf(gap)
  const finalBit = 1 << ((characters.length - 1) & 31)

  return (text, from, mayStart, mayEnd) => {
    const state = new Uint32Array(words)
    for (let at = from; at < text.length; ) {
      const character = text.codePointAt(at) ?? 0
      const mask = masks.get(character) ?? anyOther
      let carry = mayStart(at) ? 1 : 0
      for (let word = 0; word < words; word++) {
        const bits = state[word]!
        state[word] = ((bits << 1) | carry) & mask[word]!
        carry = bits >>> 31
      }
      at += character > 0xffff ? 2 : 1
      if ((state[words - 1]! & finalBit) !== 0 && mayEnd(at)) return at
    }
    return -1
  }
}

/** "The start or end of the value, or any character not in the sets [A-Z], [a-z], [0-9] or _." */
function isBoundary(text: string, at: number): boolean {
  return !(isWordCharacter(text.charCodeAt(at - 1)) && isWordCharacter(text.charCodeAt(at)))
}

function isWordCharacter(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || code === 0x5f
}
