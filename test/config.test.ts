import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readConfig } from '../src/config.ts'

test('without settings the server listens on this machine and keeps its data in ./data', () => {
  const config = readConfig({})
  assert.equal(`${config.host}:${config.port}`, '127.0.0.1:8008')
  assert.equal(config.databaseUrl, 'file:./data/hungryserv.db')
  assert.equal(config.bridgeDomain, config.userDomain)
  assert.deepEqual(config.trustedProxies, [])
})

test('a wrong value is refused with its variable and what that takes', () => {
  for (const [name, value, takes] of [
    ['PORT', '70000', /a whole number from 0 to 65535/],
    ['REGISTRATION', 'yes', /one of off, token, open/],
    ['USER_DOMAIN', 'not a domain', /a server name/],
    ['DATABASE_URL', 'mysql://', /file:PATH or postgresql/],
    ['PUBLIC_URL', 'ftp://example.com', /http or https/],
    ['RTC_LIVEKIT_URL', 'wss://rtc.example.com', /http or https/],
    ['OWNER', 'admin', /another name: admin is the administrator/],
    ['METRICS', 'public', /one of local, on, off/],
    ['REDACTED_CONTENT_DAYS', '-1', /a whole number from 0 to 3650/],
    ['LEGACY_MEDIA', 'sometimes', /open, closed or a date/],
    ['RATE_LIMITS', 'login=0/5', /requests per second and burst/],
    ['APPSERVICE_NETWORKS', '10.0.0.0', /./],
    ['TRUST_PROXY', 'yes', /Not a network: yes/],
  ] as const) {
    assert.throws(
      () => readConfig({ [name]: value }),
      (error: Error) => error.message.startsWith(`${name}=${value}: `) && takes.test(error.message),
      name,
    )
  }
})

test('the bridge domain, media and rate limits are as they are set', () => {
  const config = readConfig({
    USER_DOMAIN: 'example.com',
    BRIDGE_DOMAIN: 'beeper.local',
    LEGACY_MEDIA: '2026-01-31',
    RATE_LIMITS: 'login=1/5',
  })
  assert.equal(config.bridgeDomain, 'beeper.local')
  assert.deepEqual(config.legacyMedia, { before: Date.UTC(2026, 0, 31) })
  assert.deepEqual(config.rateLimits?.login, { perSecond: 1, burst: 5 })
  assert.deepEqual(config.rateLimits?.media, { perSecond: 20, burst: 200 })
})

test('proxies are trusted by their networks, or by their addresses', () => {
  assert.deepEqual(readConfig({ TRUST_PROXY: '10.0.0.0/8,192.0.2.1,::1' }).trustedProxies, ['10.0.0.0/8', '192.0.2.1/32', '::1/128'])
})
