import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { compileNamespace, compileNamespaces, literalPrefix } from '../../src/rules/namespaces.ts'

function matches(regex: string, id: string): boolean {
  return compileNamespace([{ regex, exclusive: true }]).matches(id)
}

suite('namespaces', () => {
  test('a regex matches from the start and need not reach the end', () => {
    assert.equal(matches('@whatsapp_.*:example\\.com', '@whatsapp_1:example.com'), true)
    assert.equal(matches('@whatsapp_', '@whatsapp_1:example.com'), true)
    assert.equal(matches('whatsapp', '@whatsapp_1:example.com'), false)
    assert.equal(matches('^@whatsapp_[0-9]+:example\\.com$', '@whatsapp_1:example.com'), true)
    assert.equal(matches('^@whatsapp_[0-9]+:example\\.com$', '@whatsapp_1:example.com.evil'), false)
    assert.equal(matches('@whatsapp_.*:example\\.com', '@whatsapp_1:exampleXcom'), false)
  })
  test('alternatives match as wholes from the start', () => {
    assert.equal(matches('@a:x|@b:x', '@b:x'), true)
    assert.equal(matches('@(a|b)_.*', '@b_1:x'), true)
    assert.equal(matches('@a:x|@b:x', 'z@b:x'), false)
  })
  test('an empty namespace matches nothing', () => {
    const { users, aliases, rooms } = compileNamespaces({})
    for (const namespace of [users, aliases, rooms]) {
      assert.equal(namespace.matches('@a:x'), false)
      assert.equal(namespace.exclusive('@a:x'), false)
    }
  })
  test('exclusive asks the exclusive entries only', () => {
    const { users } = compileNamespaces({
      users: [
        { regex: '@a.*', exclusive: false },
        { regex: '@ab.*', exclusive: true },
      ],
    })
    assert.equal(users.matches('@ax:x'), true)
    assert.equal(users.exclusive('@ax:x'), false)
    assert.equal(users.exclusive('@abx:x'), true)
  })
  for (const regex of ['(', 'a)(b', '[', '(?=x)', '(?<!x)y', '\\1', 'a**', '*']) {
    test(`${regex} is named as what is no regex here`, () =>
      assert.throws(
        () => compileNamespace([{ regex, exclusive: true }]),
        (error: Error) => error.message.includes(regex),
      ))
  }
  test('a regex that blows up elsewhere takes no time', () => {
    const namespace = compileNamespace([{ regex: '^@([a-z]+_?)+:example\\.com$', exclusive: true }])
    const started = performance.now()
    assert.equal(namespace.matches(`@${'a'.repeat(200)}:example.org`), false)
    assert.ok(performance.now() - started < 200)
  })
  test('the literal prefix stops where a regex may go two ways', () => {
    const prefixes = {
      '@a_.*': '@a_',
      '^@a\\.b.*': '@a.b',
      '@ab?': '@a',
      '@ab*': '@a',
      '@ab{0,1}': '@a',
      '@ab+': '@ab',
      '@a|@b': '',
      '(?i)@a': '',
      '@a(b|c)': '',
      '@\\d': '@',
      '@a\\.?': '@a',
      '@👍*': '@',
      '.*': '',
      '': '',
      '@a$': '@a',
      '@a\\_b': '@a_b',
    }
    for (const [regex, prefix] of Object.entries(prefixes)) assert.equal(literalPrefix(regex), prefix, regex)
  })
  test('agrees with RegExp, so the prefix never keeps a match away', () => {
    const atom = fc.constantFrom('a', 'b', '@', '.', '\\.', '[ab]', '(a)', '(a|b)', '^', '$', '_', 'a|b', '\\d', '(?:ab)')
    const piece = fc
      .tuple(atom, fc.constantFrom('', '', '', '*', '+', '?', '{0,1}', '{2}'))
      .filter(([each, quantifier]) => quantifier === '' || !/[\^$|]$|^a\|b$/.test(each))
    const regexes = fc.array(piece, { maxLength: 5 }).map((pieces) => pieces.flat().join(''))
    fc.assert(
      fc.property(regexes, fc.string({ unit: fc.constantFrom('a', 'b', '@', '.', '_', '1'), maxLength: 6 }), (regex, id) => {
        assert.equal(matches(regex, id), new RegExp(`^(?:${regex})`).test(id))
      }),
      { numRuns: 2000 },
    )
  })
})
