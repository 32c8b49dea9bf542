import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, startServer, type TestServer } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'

let now = 1_750_000_000_000
const mostBytes = 1_000_000
let test: TestServer
let reader: Client

before(async () => {
  test = await startServer({ config: { maxUploadBytes: mostBytes }, ports: { now: () => now } })
  reader = await test.register('reader')
})
after(() => test[Symbol.asyncDispose]())

const upload = '/_matrix/media/v3/upload'

async function uploaded(client: Client, bytes: string | Uint8Array, type = 'text/plain', query = ''): Promise<string> {
  const { status, body } = await client.request('POST', upload + query, undefined, { raw: bytes, headers: { 'content-type': type } })
  assert.equal(status, 200, JSON.stringify(body))
  return body.content_uri
}

/** The authenticated and the legacy download paths of a content URI. */
function paths(uri: string): { authenticated: string; legacy: string } {
  const rest = uri.slice('mxc://'.length)
  return { authenticated: `/_matrix/client/v1/media/download/${rest}`, legacy: `/_matrix/media/v3/download/${rest}` }
}

async function files(): Promise<string[]> {
  const entries = await readdir(join(test.dataDir, 'media'), { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name)
}

describe('an upload', () => {
  it('is read by others as it was, under both paths', async () => {
    const bytes = new Uint8Array(300_000).map((_, i) => i % 251)
    const uri = await uploaded(test.owner, bytes, 'application/x-thing')
    assert.match(uri, /^mxc:\/\/example\.com\/[A-Za-z0-9_-]{22,}$/)
    for (const [path, token] of [
      [paths(uri).authenticated, reader.token],
      [paths(uri).legacy, ''],
    ] as const) {
      const response = await fetch(test.url + path, { headers: token ? { authorization: `Bearer ${token}` } : {} })
      assert.equal(response.status, 200)
      assert.equal(response.headers.get('content-type'), 'application/x-thing')
      assert.equal(response.headers.get('content-length'), '300000')
      assert.deepEqual(new Uint8Array(await response.arrayBuffer()), bytes)
    }
  })

  it('may be empty', async () => {
    const uri = await uploaded(test.owner, '')
    const { status, headers, body } = await reader.get(paths(uri).authenticated)
    assert.deepEqual([status, headers.get('content-length'), body], [200, '0', ''])
  })

  it('survives a restart', async () => {
    const uri = await uploaded(test.owner, 'kept')
    await test.restart()
    assert.equal((await reader.get(paths(uri).authenticated)).body, 'kept')
  })

  it('needs a token', async () => {
    const { status, body } = await test.request('POST', upload, undefined, { raw: 'x' })
    assert.deepEqual([status, body.errcode], [401, 'M_MISSING_TOKEN'])
  })

  it('beyond the limit is refused, announced or not, and leaves nothing', async () => {
    const before = await files()
    const announced = await test.owner.request('POST', upload, undefined, { raw: new Uint8Array(mostBytes + 1) })
    assert.deepEqual([announced.status, announced.body.errcode], [413, 'M_TOO_LARGE'])
    const response = await fetch(test.url + upload, {
      method: 'POST',
      headers: { authorization: `Bearer ${test.owner.token}` },
      duplex: 'half',
      body: new ReadableStream({
        start(controller) {
          for (let i = 0; i < 12; i++) controller.enqueue(new Uint8Array(100_000))
          controller.close()
        },
      }),
    } as RequestInit)
    assert.deepEqual([response.status, (await response.json()).errcode], [413, 'M_TOO_LARGE'])
    assert.deepEqual(await files(), before)
    assert.equal((await test.owner.request('POST', upload, undefined, { raw: new Uint8Array(mostBytes) })).status, 200)
    for (const path of ['/_matrix/client/v1/media/config', '/_matrix/media/v3/config']) {
      assert.deepEqual((await test.owner.get(path)).body, { 'm.upload.size': mostBytes })
      assert.equal((await test.request('GET', path)).status, 401)
    }
  })

  it('that is cut off leaves nothing', async () => {
    const before = await files()
    await new Promise<void>((resolve) => {
      const request = httpRequest(test.url + upload, {
        method: 'POST',
        headers: { authorization: `Bearer ${test.owner.token}`, 'content-length': '500000' },
      })
      request.on('error', () => resolve())
      request.write(Buffer.alloc(200_000))
      setTimeout(() => request.destroy(), 100)
    })
    for (let tries = 0; (await files()).length !== before.length && tries < 100; tries++) await sleep(20)
    assert.deepEqual(await files(), before)
  })

  it("is a bridge's too, for a ghost that never registered", async () => {
    const bridge = await registerBridge(test, 'media')
    const { status, body } = await bridge.as(bridge.ghost(1)).request('POST', upload, undefined, { raw: 'from a ghost' })
    assert.equal(status, 200)
    assert.equal((await reader.get(paths(body.content_uri).authenticated)).body, 'from a ghost')
  })
})

describe('a download', () => {
  it('carries the headers that keep it harmless', async () => {
    const uri = await uploaded(test.owner, '<script>alert(1)</script>', 'text/html', '?filename=page.html')
    const { headers } = await reader.get(paths(uri).authenticated)
    assert.match(headers.get('content-security-policy') ?? '', /^sandbox; default-src 'none'; script-src 'none';/)
    assert.equal(headers.get('x-content-type-options'), 'nosniff')
    assert.equal(headers.get('cross-origin-resource-policy'), 'cross-origin')
    assert.equal(headers.get('content-disposition'), 'attachment; filename=page.html')
    assert.match(headers.get('cache-control') ?? '', /^private,/)
    assert.equal(headers.get('access-control-allow-origin'), '*')
  })

  it('shows inline only what is safe', async () => {
    const kinds: Readonly<Record<string, string>> = {
      'image/png': 'inline',
      'text/plain; charset=utf-8': 'inline',
      'image/svg+xml': 'attachment',
      'application/pdf': 'attachment',
    }
    for (const [type, kind] of Object.entries(kinds)) {
      const { headers } = await reader.get(paths(await uploaded(test.owner, 'x', type)).authenticated)
      assert.deepEqual([headers.get('content-type'), headers.get('content-disposition')], [type, kind])
    }
  })

  it('is named as uploaded, or as asked', async () => {
    const uri = await uploaded(test.owner, 'x', 'text/plain', `?filename=${encodeURIComponent('Größe "1".txt')}`)
    const named = await reader.get(paths(uri).authenticated)
    assert.equal(named.headers.get('content-disposition'), "inline; filename*=utf-8''Gr%C3%B6%C3%9Fe%20%221%22.txt")
    for (const path of Object.values(paths(uri))) {
      const asked = await reader.get(`${path}/other.txt`)
      assert.equal(asked.headers.get('content-disposition'), 'inline; filename=other.txt')
    }
    assert.equal((await reader.get('/_matrix/client/v1/media/download/example.com/none/other.txt')).status, 404)
    assert.equal((await reader.get('/_matrix/media/v3/download/example.com/none/other.txt')).status, 404)
  })

  it('is not sent again to who has it, and never without a token', async () => {
    const uri = await uploaded(test.owner, 'once')
    const { headers } = await reader.get(paths(uri).authenticated)
    const condition = { 'if-none-match': headers.get('etag') ?? '' }
    const again = await reader.request('GET', paths(uri).authenticated, undefined, { headers: condition })
    assert.deepEqual([again.status, again.body], [304, ''])
    assert.equal((await test.request('GET', paths(uri).authenticated, undefined, { headers: condition })).status, 401)
  })

  it('gives single ranges', async () => {
    const uri = await uploaded(test.owner, '0123456789')
    const range = async (value: string, more: Readonly<Record<string, string>> = {}) => {
      const { status, headers, body } = await reader.request('GET', paths(uri).authenticated, undefined, {
        headers: { range: value, ...more },
      })
      return [status, headers.get('content-range'), String(body)]
    }
    assert.deepEqual(await range('bytes=2-4'), [206, 'bytes 2-4/10', '234'])
    assert.deepEqual(await range('bytes=7-'), [206, 'bytes 7-9/10', '789'])
    assert.deepEqual(await range('bytes=-3'), [206, 'bytes 7-9/10', '789'])
    assert.deepEqual(await range('bytes=8-100'), [206, 'bytes 8-9/10', '89'])
    assert.deepEqual((await range('bytes=10-'))[0], 416)
    assert.deepEqual((await range('bytes=0-1,3-4'))[0], 200)
    assert.deepEqual((await range('bytes=4-2'))[0], 200)
    assert.deepEqual((await range('bytes=2-4', { 'if-range': '"other"' }))[0], 200)
  })

  it('of another server, or of nothing, is 404 at once', async () => {
    const uri = await uploaded(test.owner, 'x')
    const id = uri.split('/').at(-1)
    for (const rest of [`maunium.net/${id}`, 'example.com/unknown', 'example.com/..%2F..%2Fhungryserv.db', `example.com/${id}%00`]) {
      for (const path of [`/_matrix/client/v1/media/download/${rest}`, `/_matrix/media/v3/download/${rest}`]) {
        const { status, body } = await reader.get(path)
        assert.ok(status === 404 || (rest.includes('%00') && status === 400), `${path}: ${status}`)
        assert.equal(body.errcode, status === 404 ? 'M_NOT_FOUND' : 'M_INVALID_PARAM')
      }
    }
  })
})

describe('a created id', () => {
  async function create(client: Client): Promise<{ uri: string; put: string }> {
    const { body } = await client.post('/_matrix/media/v1/create')
    assert.equal(body.unused_expires_at, now + 24 * 3_600_000)
    return { uri: body.content_uri, put: `${upload}/${body.content_uri.slice('mxc://'.length)}` }
  }
  const put = (client: Client, path: string, raw = 'late') => client.request('PUT', path, undefined, { raw })

  it('is uploaded to once, by its creator only', async () => {
    const { uri, put: path } = await create(test.owner)
    const other = await put(reader, path)
    assert.deepEqual([other.status, other.body.errcode], [403, 'M_FORBIDDEN'])
    assert.deepEqual((await put(test.owner, `${path}?filename=a.txt`)).body, {})
    const again = await put(test.owner, path, 'changed')
    assert.deepEqual([again.status, again.body.errcode], [409, 'M_CANNOT_OVERWRITE_MEDIA'])
    assert.equal((await reader.get(paths(uri).authenticated)).body, 'late')
    assert.equal((await test.request('POST', '/_matrix/media/v1/create')).status, 401)
  })

  it('takes one of two uploads at once', async () => {
    const { uri, put: path } = await create(test.owner)
    const replies = await Promise.all([put(test.owner, path, 'first'.repeat(10_000)), put(test.owner, path, 'other'.repeat(10_000))])
    assert.deepEqual(replies.map((reply) => reply.status).sort(), [200, 409])
    const won = replies[0]!.status === 200 ? 'first' : 'other'
    assert.equal((await reader.get(paths(uri).authenticated)).body, won.repeat(10_000))
  })

  it('has readers wait until it is uploaded', async () => {
    const { uri, put: path } = await create(test.owner)
    const waiting = [reader.get(paths(uri).authenticated), reader.get(paths(uri).legacy)]
    await sleep(50)
    await put(test.owner, path, 'here')
    for (const { status, body } of await Promise.all(waiting)) assert.deepEqual([status, body], [200, 'here'])
  })

  it('answers readers 504 when the time is over, and again works afterwards', async () => {
    const { uri, put: path } = await create(test.owner)
    for (const query of ['?timeout_ms=0', '?timeout_ms=30']) {
      const { status, body } = await reader.get(paths(uri).authenticated + query)
      assert.deepEqual([status, body.errcode], [504, 'M_NOT_YET_UPLOADED'])
    }
    await put(test.owner, path)
    assert.equal((await reader.get(paths(uri).authenticated)).status, 200)
  })

  it('expires after a day', async () => {
    const { uri, put: path } = await create(test.owner)
    now += 24 * 3_600_000 + 1
    for (const reply of [await put(test.owner, path), await reader.get(paths(uri).authenticated)]) {
      assert.deepEqual([reply.status, reply.body.errcode], [404, 'M_NOT_FOUND'])
    }
  })

  it('is one of 1 000 unused per user, and expired ones are dropped', async () => {
    const hoarder = await test.register('hoarder')
    const instance = await test.server.host.defaultInstance()
    const { actor } = await test.server.host.authenticate(hoarder.token, null)
    const { createMedia } = await import('../../src/media/records.ts')
    await Promise.all(Array.from({ length: 1_000 }, () => createMedia(instance, actor)))
    const refused = await hoarder.post('/_matrix/media/v1/create')
    assert.deepEqual([refused.status, refused.body.errcode], [429, 'M_LIMIT_EXCEEDED'])
    await create(test.owner)
    now += 3 * 24 * 3_600_000
    await create(hoarder)
    assert.ok((await instance.storage.count('media', { user: actor.user })) < 1_000)
  })

  it('is made by GraphQL as well, where its record is read', async () => {
    const made = await test.owner.graphql('mutation { createMedia { contentUri unusedExpiresAt } }')
    const { contentUri } = made.data.createMedia
    const query = `query ($mxc: String!) { media(mxc: $mxc) { contentType fileName sizeBytes uploadedAt } maxUploadBytes }`
    assert.equal((await reader.graphql(query, { mxc: contentUri })).data.media.sizeBytes, null)
    await test.owner.request('PUT', `${upload}/${contentUri.slice(6)}?filename=a.txt`, undefined, {
      raw: 'abc',
      headers: { 'content-type': 'text/plain' },
    })
    const { media, maxUploadBytes } = (await reader.graphql(query, { mxc: contentUri })).data
    assert.deepEqual(media, { contentType: 'text/plain', fileName: 'a.txt', sizeBytes: 3, uploadedAt: now })
    assert.equal(maxUploadBytes, mostBytes)
    const missing = await reader.graphql(query, { mxc: 'mxc://example.com/none' })
    assert.equal(missing.errors[0].extensions.errcode, 'M_NOT_FOUND')
  })
})

describe('content with a unique id', () => {
  const create = (client: Client, query: string) => client.post(`/_matrix/media/v1/create?${query}`)
  const named = 'com.beeper.unique_id=hash1&com.beeper.room_id=!r:example.com'

  it('is uploaded once: whoever of the same bridge names it again is given what is there', async () => {
    const bridge = await registerBridge(test, 'unique')
    const as = (n: number) => bridge.as(bridge.ghost(n))
    const ask = (n: number) => as(n).request('POST', `/_matrix/media/v1/create?${named}`)
    for (const n of [1, 2]) await as(n).request('PUT', `/profile/${encodeURIComponent(bridge.ghost(n))}`, {})
    const first = (await ask(1)).body
    assert.equal(first['com.beeper.unique_id'], 'hash1')
    assert.equal(first['com.beeper.completed_at'], undefined)
    assert.equal((await ask(1)).body.content_uri, first.content_uri, 'what was begun goes on')
    assert.notEqual((await ask(2)).body.content_uri, first.content_uri, 'but by who began it')
    const sent = await as(1).request('PUT', `${upload}/${first.content_uri.slice(6)}`, undefined, { raw: 'bytes' })
    assert.equal(sent.status, 200)
    const again = (await ask(2)).body
    assert.deepEqual(again, { content_uri: first.content_uri, 'com.beeper.unique_id': 'hash1', 'com.beeper.completed_at': now })
    const other = (await create(test.owner, named)).body
    assert.notEqual(other.content_uri, first.content_uri, 'what others call alike is something else')
    const refused = await create(test.owner, `com.beeper.unique_id=${'x'.repeat(256)}`)
    assert.deepEqual([refused.status, refused.body.errcode], [400, 'M_INVALID_PARAM'])
  })
})

describe('completing an upload', () => {
  const complete = (client: Client, uri: string, query = '', base = 'com.beeper.msc3870') =>
    client.request('POST', `/_matrix/media/unstable/${base}/upload/${uri.slice(6)}/complete${query}`, {})

  it('answers who created it once the bytes are there, under the names of old too', async () => {
    const old = '/_matrix/media/unstable/fi.mau.msc2246'
    const { content_uri: uri } = (await test.owner.post(`${old}/create`)).body
    const early = await complete(test.owner, uri)
    assert.deepEqual([early.status, early.body.errcode], [504, 'M_NOT_YET_UPLOADED'])
    assert.equal((await complete(reader, uri)).status, 403)
    assert.equal((await test.owner.request('PUT', `${old}/upload/${uri.slice(6)}`, undefined, { raw: 'bytes' })).status, 200)
    assert.deepEqual((await complete(test.owner, uri, '?filename=a.txt')).body, { content_uri: uri })
    assert.deepEqual((await complete(test.owner, uri, '', 'fi.mau.msc2246')).body, { content_uri: uri })
    const { headers } = await reader.get(paths(uri).authenticated)
    assert.match(headers.get('content-disposition') ?? '', /a\.txt/)
    assert.equal((await complete(test.owner, 'mxc://example.com/none')).status, 404)
    assert.equal((await test.request('POST', `${old}/create`)).status, 401)
    assert.equal((await test.request('PUT', `${old}/upload/${uri.slice(6)}`, undefined, { raw: 'x' })).status, 401)
    assert.equal((await test.request('POST', `${old}/upload/${uri.slice(6)}/complete`)).status, 401)
    const done = 'mutation($mxc: String!) { completeMedia(mxc: $mxc) }'
    assert.equal((await test.owner.graphql(done, { mxc: uri })).data.completeMedia, uri)
    assert.equal((await reader.graphql(done, { mxc: uri })).errors[0].extensions.errcode, 'M_FORBIDDEN')
  })

  it('follows bytes that were sent to the address handed out, without a token, and once', async () => {
    const place = 'https://uploads.example.com'
    await using home = await startServer({ config: { uploadUrl: place } })
    const { owner } = home
    const handed = (await owner.post('/_matrix/media/v1/create')).body
    const url: string = handed['com.beeper.msc3870.upload_url']
    assert.ok(url.startsWith(`${place}/_matrix/media/unstable/com.beeper.msc3870/bytes/`))
    const address = url.replace(place, home.url)
    const put = (to: string) => fetch(to, { method: 'PUT', body: 'bytes', headers: { 'content-type': 'text/plain' } })
    assert.equal((await put(`${address}x`)).status, 404, 'a wrong token is like an unknown id')
    assert.equal((await put(address.replace(/token=.*/, ''))).status, 400)
    assert.equal((await put(address)).status, 200)
    assert.equal((await put(address)).status, 404, 'the address is used up')
    assert.deepEqual((await complete(owner, handed.content_uri, '?filename=b.txt')).body, { content_uri: handed.content_uri })
    const read = await owner.get(paths(handed.content_uri).authenticated)
    assert.deepEqual([read.body, read.headers.get('content-type')], ['bytes', 'text/plain'])
  })
})

describe('the legacy paths', () => {
  it('are closed where the configuration says so, and the others stay open', async () => {
    const closed = await startServer({ config: { legacyMedia: 'closed' } })
    try {
      const uri = await uploaded(closed.owner, 'x')
      const legacy = await closed.request('GET', paths(uri).legacy)
      assert.deepEqual([legacy.status, legacy.body.errcode], [404, 'M_NOT_FOUND'])
      assert.equal((await closed.owner.get(paths(uri).authenticated)).status, 200)
    } finally {
      await closed[Symbol.asyncDispose]()
    }
  })

  it('give what was uploaded before a date', async () => {
    let time = 1_000
    const dated = await startServer({ config: { legacyMedia: { before: 2_000 } }, ports: { now: () => time } })
    try {
      const early = await uploaded(dated.owner, 'x')
      time = 3_000
      const late = await uploaded(dated.owner, 'y')
      assert.equal((await dated.request('GET', paths(early).legacy)).status, 200)
      assert.equal((await dated.request('GET', paths(late).legacy)).status, 404)
    } finally {
      await dated[Symbol.asyncDispose]()
    }
  })

  it('answer under r0 and v1 as well', async () => {
    const uri = await uploaded(test.owner, 'x')
    for (const version of ['r0', 'v1']) assert.equal((await test.request('GET', paths(uri).legacy.replace('v3', version))).body, 'x')
  })
})

describe('unfinished uploads', () => {
  it('are removed', async () => {
    const { removeUnfinishedUploads } = await import('../../src/media/blobs.ts')
    const { mkdir, writeFile } = await import('node:fs/promises')
    const instance = await test.server.host.defaultInstance()
    const folder = join(test.dataDir, 'media', String(instance.key), 'unfinished')
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'left-behind'), 'x')
    await removeUnfinishedUploads(instance)
    assert.equal((await files()).includes('left-behind'), false)
    await uploaded(test.owner, 'works on')
  })
})
