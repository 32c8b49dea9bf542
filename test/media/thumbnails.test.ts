import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { deflateSync } from 'node:zlib'
import sharp from 'sharp'
import { startServer, type TestServer } from '../rig/server.ts'

let test: TestServer
before(async () => {
  test = await startServer()
})
after(() => test[Symbol.asyncDispose]())

async function uploaded(bytes: Uint8Array | string, type: string, query = ''): Promise<string> {
  const { body } = await test.owner.request('POST', `/_matrix/media/v3/upload${query}`, undefined, {
    raw: bytes,
    headers: { 'content-type': type },
  })
  return body.content_uri.slice('mxc://'.length)
}

interface Thumbnail {
  readonly status: number
  readonly type: string | null
  readonly disposition: string | null
  readonly bytes: Buffer
}

async function thumbnail(media: string, query: string): Promise<Thumbnail> {
  const response = await fetch(`${test.url}/_matrix/client/v1/media/thumbnail/${media}?${query}`, {
    headers: { authorization: `Bearer ${test.owner.token}` },
  })
  const { status, headers } = response
  return {
    status,
    type: headers.get('content-type'),
    disposition: headers.get('content-disposition'),
    bytes: Buffer.from(await response.arrayBuffer()),
  }
}

async function sizeOf({ bytes }: Thumbnail): Promise<[number, number]> {
  const { width, height } = await sharp(bytes).metadata()
  return [width, height]
}

function picture(width: number, height: number, channels: 3 | 4 = 3): Promise<Buffer> {
  const image = sharp({ create: { width, height, channels, background: { r: 200, g: 30, b: 90, alpha: 0.5 } } })
  return (channels === 3 ? image.jpeg() : image.png()).toBuffer()
}

async function thumbnailFiles(): Promise<number> {
  const entries = await readdir(join(test.dataDir, 'media'), { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile() && entry.parentPath.includes('thumbnails')).length
}

describe('a thumbnail', () => {
  it('has the next of the sizes of the specification, scaled inside or cropped to it', async () => {
    const media = await uploaded(await picture(2_000, 1_000), 'image/jpeg')
    assert.deepEqual(await sizeOf(await thumbnail(media, 'width=30&height=30&method=crop')), [32, 32])
    assert.deepEqual(await sizeOf(await thumbnail(media, 'width=33&height=20&method=crop')), [96, 96])
    assert.deepEqual(await sizeOf(await thumbnail(media, 'width=300&height=200&method=scale')), [320, 160])
    assert.deepEqual(await sizeOf(await thumbnail(media, 'width=641&height=10')), [800, 400])
    assert.deepEqual(await sizeOf(await thumbnail(media, 'width=5000&height=5000')), [800, 400])
  })

  it('is never larger than the original', async () => {
    const media = await uploaded(await picture(50, 40), 'image/jpeg')
    assert.deepEqual(await sizeOf(await thumbnail(media, 'width=320&height=240&method=scale')), [50, 40])
    assert.deepEqual(await sizeOf(await thumbnail(media, 'width=96&height=96&method=crop')), [40, 40])
    const line = await uploaded(await picture(1, 3_000), 'image/jpeg')
    assert.deepEqual(await sizeOf(await thumbnail(line, 'width=32&height=32&method=crop')), [1, 1])
  })

  it('keeps transparency as PNG, and is JPEG otherwise', async () => {
    const opaque = await thumbnail(await uploaded(await picture(200, 200), 'image/jpeg', '?filename=cat.jpeg'), 'width=96&height=96')
    assert.deepEqual([opaque.type, opaque.disposition], ['image/jpeg', 'inline; filename=cat.jpg'])
    const clear = await thumbnail(await uploaded(await picture(200, 200, 4), 'image/png'), 'width=96&height=96')
    assert.equal(clear.type, 'image/png')
    assert.equal((await sharp(clear.bytes).metadata()).hasAlpha, true)
  })

  it('stands upright whatever the camera noted', async () => {
    const turned = await sharp(await picture(400, 200))
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer()
    const [width, height] = await sizeOf(await thumbnail(await uploaded(turned, 'image/jpeg'), 'width=96&height=96&method=scale'))
    assert.ok(height > width)
  })

  it('is made once, for many who ask at the same time', async () => {
    const media = await uploaded(await picture(700, 700), 'image/jpeg')
    const before = await thumbnailFiles()
    const made = await Promise.all(Array.from({ length: 12 }, () => thumbnail(media, 'width=96&height=96&method=crop')))
    assert.ok(made.every(({ bytes }) => bytes.equals(made[0]!.bytes)))
    assert.equal(await thumbnailFiles(), before + 1)
    const again = await test.owner.request('GET', `/_matrix/media/v3/thumbnail/${media}?width=96&height=96&method=crop`)
    assert.equal(again.status, 200)
    assert.equal(await thumbnailFiles(), before + 1)
  })

  it('of an image that moves is the image where that is asked for, else it stands still', async () => {
    // Two frames of different colours, one above the other.
    const pixels = Buffer.alloc(64 * 128 * 3, 120).fill(10, 64 * 64 * 3)
    const frames = await sharp(pixels, { raw: { width: 64, height: 128, channels: 3, pageHeight: 64 } })
      .gif({ loop: 0, delay: [100, 100] })
      .toBuffer()
    assert.equal((await sharp(frames, { animated: true }).metadata()).pages, 2)
    const media = await uploaded(frames, 'image/gif')
    const moving = await thumbnail(media, 'width=32&height=32&animated=true')
    assert.deepEqual([moving.type, moving.bytes.equals(frames)], ['image/gif', true])
    const still = await thumbnail(media, 'width=32&height=32&animated=false')
    assert.equal(still.type === 'image/jpeg' || still.type === 'image/png', true)
  })

  it('of what is no image is the original', async () => {
    const text = await thumbnail(await uploaded('just text', 'text/plain'), 'width=32&height=32')
    assert.deepEqual([text.status, text.type, text.bytes.toString()], [200, 'text/plain', 'just text'])
    const broken = await thumbnail(await uploaded((await picture(100, 100)).subarray(0, 200), 'image/jpeg'), 'width=32&height=32')
    assert.equal(broken.status, 200)
  })

  it('of an SVG is never drawn, whatever it claims to be', async () => {
    const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100"><rect width="100" height="100"/></svg>'
    for (const type of ['image/svg+xml', 'image/png']) {
      const { bytes } = await thumbnail(await uploaded(svg, type), 'width=32&height=32')
      assert.equal(bytes.toString(), svg)
    }
  })

  it('of an image with too many pixels is the original, without decoding it', async () => {
    const bomb = hugePng(20_000, 20_000)
    const { bytes } = await thumbnail(await uploaded(bomb, 'image/png'), 'width=32&height=32')
    assert.ok(bytes.equals(bomb))
  })

  it('is refused without a size, with a wrong one and without a token', async () => {
    const media = await uploaded(await picture(100, 100), 'image/jpeg')
    const path = `/_matrix/client/v1/media/thumbnail/${media}`
    const errcode = async (query: string) => (await test.owner.get(`${path}?${query}`)).body.errcode
    assert.equal(await errcode(''), 'M_MISSING_PARAM')
    assert.equal(await errcode('width=0&height=10'), 'M_INVALID_PARAM')
    assert.equal(await errcode('width=10&height=ten'), 'M_INVALID_PARAM')
    assert.equal(await errcode('width=10&height=10&method=squash'), 'M_INVALID_PARAM')
    assert.equal((await test.request('GET', `${path}?width=10&height=10`)).status, 401)
    assert.equal((await test.request('GET', '/_matrix/media/v3/thumbnail/maunium.net/x?width=10&height=10')).status, 404)
  })
})

/** A valid PNG of one colour: small as a file, gigabytes when decoded. */
function hugePng(width: number, height: number): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([1, 0, 0, 0, 0], 8)
  const rows = deflateSync(Buffer.alloc((Math.ceil(width / 8) + 1) * height))
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    ...[['IHDR', header] as const, ['IDAT', rows] as const, ['IEND', Buffer.alloc(0)] as const].map(([name, data]) => chunk(name, data)),
  ])
}

function chunk(name: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(name, 'latin1'), data])
  const whole = Buffer.alloc(body.length + 8)
  whole.writeUInt32BE(data.length, 0)
  body.copy(whole, 4)
  whole.writeUInt32BE(crc32(body), body.length + 4)
  return whole
}

function crc32(bytes: Buffer): number {
  let crc = ~0
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}
