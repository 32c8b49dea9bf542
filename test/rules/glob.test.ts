import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { compileGlob, type GlobOptions } from '../../src/rules/glob.ts'

function matches(pattern: string, text: string, options: Partial<GlobOptions> = {}): boolean {
  return compileGlob(pattern, { wildcards: '*?', match: 'whole', ...options })(text)
}

/** The definition, at exponential cost. */
function naive(pattern: readonly string[], text: readonly string[], wildcards: string): boolean {
  const [first, ...rest] = pattern
  if (first === undefined) return text.length === 0
  if (first === '*' && wildcards.includes('*'))
    return naive(rest, text, wildcards) || (text.length > 0 && naive(pattern, text.slice(1), wildcards))
  return text.length > 0 && ((first === '?' && wildcards.includes('?')) || first === text[0]) && naive(rest, text.slice(1), wildcards)
}

function naiveWords(pattern: readonly string[], text: readonly string[], wildcards: string): boolean {
  const isWord = (at: number): boolean => /^[A-Za-z0-9_]$/.test(text[at] ?? '')
  const boundaries = [...text.keys(), text.length].filter((at) => !(isWord(at - 1) && isWord(at)))
  return boundaries.some((from) => boundaries.some((to) => from <= to && naive(pattern, text.slice(from, to), wildcards)))
}

suite('globs', () => {
  test('the examples of the specification hold', () => {
    assert.equal(matches('lunc?*', 'lunch plans'), true)
    assert.equal(matches('lunc?*', 'lunch'), true)
    assert.equal(matches('lunc?*', ' lunch'), false)
    assert.equal(matches('lunc?*', 'lunc'), false)
    for (const text of ['an example event.', 'exple', 'an exciting triple-whammy'])
      assert.equal(matches('ex*ple', text, { match: 'words' }), true)
    assert.equal(matches('ex*ple', 'an exampled event', { match: 'words' }), false)
    assert.equal(matches('cake', 'a piece of cake!', { match: 'words' }), true)
    assert.equal(matches('cake', 'cakes', { match: 'words' }), false)
  })
  test('a pattern that starts or ends with no letter is found next to letters', () => {
    assert.equal(matches('@room', 'hi@room', { match: 'words' }), true)
    assert.equal(matches('@room', 'hi @rooms', { match: 'words' }), false)
  })
  test('letters A to Z and a to z, digits and _ make words, nothing else does', () => {
    for (const character of 'AZaz09_') assert.equal(matches('x', `x${character}`, { match: 'words' }), false, character)
    for (const character of '@[`{/:-^é👍') assert.equal(matches('x', `x${character}`, { match: 'words' }), true, character)
  })
  test('? takes one whole character, an emoji too', () => {
    assert.equal(matches('a?b', 'a👍b'), true)
    assert.equal(matches('a??b', 'a👍b'), false)
    assert.equal(matches('?', '👍', { match: 'words' }), true)
  })
  test('an empty pattern matches the empty text', () => {
    assert.equal(matches('', ''), true)
    assert.equal(matches('', 'a'), false)
    assert.equal(matches('*', ''), true)
    assert.equal(matches('?', ''), false)
  })

  const text = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '👍', '-'), maxLength: 9 })
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '👍', '*', '*', '?', '-'), maxLength: 6 })
  for (const wildcards of ['*?', '*', ''] as const) {
    test(`agrees with the definition, wildcards "${wildcards}"`, () => {
      fc.assert(
        fc.property(pattern, text, (glob, value) => {
          assert.equal(matches(glob, value, { wildcards }), naive([...glob], [...value], wildcards))
          assert.equal(matches(glob, value, { wildcards, match: 'words' }), naiveWords([...glob], [...value], wildcards))
        }),
        { numRuns: 3000 },
      )
    })
  }
  test('no pattern takes long on a body of 64 KiB', () => {
    const body = 'a'.repeat(65_536)
    for (const glob of [
      '*a'.repeat(200),
      `${'*a'.repeat(200)}b`,
      `${'a*'.repeat(200)}b`,
      `${'?*'.repeat(200)}b`,
      `${'?'.repeat(400)}b`,
      `-${'a'.repeat(400)}`,
    ]) {
      for (const match of ['whole', 'words'] as const) {
        const started = performance.now()
        matches(glob, body, { match })
        const tookMs = performance.now() - started
        assert.ok(tookMs < 2000, `${glob.slice(0, 10)}… took ${tookMs} ms`)
      }
    }
  })
})
