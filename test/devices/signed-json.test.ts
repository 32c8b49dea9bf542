/** What is signed of a key, to the byte: clients sign with another implementation. */
import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { canonicalJson, isPublicKey, signaturesOf, verifies, withoutSignatures } from '../../src/devices/signed-json.ts'
import type { Json, JsonObject } from '../../src/rules/values.ts'
import { signingKey } from './rig.ts'

/** Of the appendix "Cryptographic test vectors" of the specification. */
const seed = 'YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1'
const vectors: readonly [JsonObject, string][] = [
  [{}, 'K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ'],
  [{ one: 1, two: 'Two' }, 'KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw'],
]

function vectorKey(): string {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.from(seed, 'base64')])
  const key = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }))
  return Buffer.from(key.export({ format: 'jwk' }).x!, 'base64url')
    .toString('base64')
    .replace(/=+$/, '')
}

describe('canonical JSON', () => {
  /** Of the appendix "Canonical JSON", and what else clients could do otherwise. */
  const examples: readonly [string, string][] = [
    ['{}', '{}'],
    ['{ "one": 1, "two": "Two" }', '{"one":1,"two":"Two"}'],
    ['{ "b": "2", "a": "1" }', '{"a":"1","b":"2"}'],
    ['{ "auth": { "success": true, "mxid": "@john.doe:example.com" } }', '{"auth":{"mxid":"@john.doe:example.com","success":true}}'],
    ['{ "a": "日本語" }', '{"a":"日本語"}'],
    ['{ "本": 2, "日": 1 }', '{"日":1,"本":2}'],
    ['{ "a": "\\u65E5" }', '{"a":"日"}'],
    ['{ "a": null }', '{"a":null}'],
    ['{ "a": -0, "b": -9007199254740991 }', '{"a":0,"b":-9007199254740991}'],
    ['{ "\\u0000": "\\u001F\\n\\/\\"\\u2028\\u007f" }', '{"\\u0000":"\\u001f\\n/\\"\u2028\u007f"}'],
    ['{ "10": [ 3, 1 ], "9": [], "__proto__": {} }', '{"10":[3,1],"9":[],"__proto__":{}}'],
  ]
  for (const [given, canonical] of examples) {
    it(`of ${given} is ${canonical}`, () => assert.equal(canonicalJson(JSON.parse(given) as Json), canonical))
  }

  it('sorts keys by code point, not by UTF-16 unit', () => {
    assert.equal(canonicalJson({ '😀': 1, '\uffff': 2, '\ue000': 3, a: 4 }), '{"a":4,"\ue000":3,"\uffff":2,"😀":1}')
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.integer()), (object) => {
        const expected = Object.keys(object).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        assert.deepEqual([...keysIn(canonicalJson(object))], expected)
      }),
    )
  })

  it('means the same as what was given, and is its own canonical form, in whatever order the keys came', () => {
    fc.assert(
      fc.property(json(), (value) => {
        const text = canonicalJson(value)
        assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)))
        assert.equal(canonicalJson(JSON.parse(text) as Json), text)
        assert.equal(canonicalJson(reversed(value)), text)
      }),
    )
  })

  it('there is none of fractions, large numbers and half characters', () => {
    for (const value of [0.5, 2 ** 53, -(2 ** 53), 1e300, '\ud800', { a: ['\udc00b'] }, { '\ud83d': 1 }])
      assert.throws(() => canonicalJson(value), { errcode: 'M_BAD_JSON' })
  })
})

describe('a signature', () => {
  it('of the specification verifies', () => {
    for (const [object, signature] of vectors) assert.equal(verifies(canonicalJson(object), vectorKey(), signature), true)
    assert.equal(verifies(canonicalJson({ one: 1, two: 'two' }), vectorKey(), vectors[1]![1]), false)
  })

  it('holds for what was signed and its key, and for nothing else', () => {
    const [key, other] = [signingKey(), signingKey()]
    fc.assert(
      fc.property(fc.dictionary(plain(), fc.integer()), plain(), (object, name) => {
        const signed = key.sign({ ...object, signatures: undefined, unsigned: { seen: 1 } }, '@me:x', 'D') as JsonObject
        const signature = signaturesOf(signed, '@me:x').get('ed25519:D')!
        const text = canonicalJson(withoutSignatures(signed))
        assert.equal(verifies(text, key.publicKey, signature), true)
        assert.equal(verifies(text, other.publicKey, signature), false)
        assert.equal(verifies(canonicalJson({ ...object, [`${name}!`]: 'more' }), key.publicKey, signature), false)
        assert.equal(verifies(text, key.publicKey, other.sign(object, '@me:x', 'D').signatures['@me:x']['ed25519:D']), false)
      }),
      { numRuns: 50 },
    )
  })

  it('and a key may have padding, but no other letters, no other length and no stray bits', () => {
    const key = signingKey()
    const signature = key.sign({}, '@me:x').signatures['@me:x'][`ed25519:${key.publicKey}`]
    assert.equal(verifies('{}', `${key.publicKey}=`, `${signature}==`), true)
    const wrong = ['', 'x', `${signature}=`, ` ${signature}`, `${signature}\n`, `${signature}AAAA`, signature.slice(0, -1), '_'.repeat(86)]
    for (const text of [...wrong, `${signature.slice(0, -1)}/`, '😀'.repeat(43)])
      assert.equal(verifies('{}', key.publicKey, text), false, text)
    for (const text of ['', 'A', 'A'.repeat(42), 'A'.repeat(44), `${'A'.repeat(42)}B`, `${'-'.repeat(42)}A`]) {
      assert.equal(isPublicKey(text), false, text)
      assert.equal(verifies('{}', text, signature), false, text)
    }
  })

  it('is answered for any 32 bytes as a key, points of the curve or not', () => {
    const signature = Buffer.alloc(64).toString('base64')
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        assert.equal(verifies('{}', Buffer.from(bytes).toString('base64'), signature), false)
      }),
    )
  })

  it('is looked for in whatever stands there', () => {
    for (const signatures of [undefined, null, 'x', [], { '@me:x': null }, { '@me:x': ['y'] }, { '@me:x': { 'ed25519:D': 1 } }]) {
      const found = signaturesOf({ ...(signatures === undefined ? {} : { signatures }) } as JsonObject, '@me:x')
      assert.deepEqual(
        [...found.keys()].filter((name) => name.startsWith('ed25519')),
        [],
      )
    }
    assert.equal(signaturesOf({ signatures: {} }, 'constructor').size, 0)
  })
})

/** Text without surrogates, so that the rig sorts it right. */
function plain(): fc.Arbitrary<string> {
  return fc.stringMatching(/^[a-z]{0,8}$/)
}

function json(): fc.Arbitrary<Json> {
  return fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(null, true, false),
      fc.maxSafeInteger(),
      fc.string({ unit: 'binary' }),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(fc.string({ unit: 'binary' }), tie('value'), { maxKeys: 4, noNullPrototype: true }),
    ),
  })).value
}

function reversed(value: Json): Json {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(reversed)
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, each]) => [key, reversed(each)]),
  )
}

/** The keys of an object of numbers, in the order of its text: an object read from it would sort those that look like numbers. */
function* keysIn(text: string): Generator<string> {
  for (const [, key] of text.matchAll(/("(?:[^"\\]|\\.)*"):/gs)) yield JSON.parse(key!)
}
