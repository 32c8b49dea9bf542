/** New identifiers and secrets. All of them are unguessable. */
import { hash } from 'node:crypto'
import type { Ports } from './ports.ts'

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** `$` and 43 characters, as room versions 4 and later look. */
export function newEventId(ports: Ports): string {
  return `$${ports.random(32).toString('base64url')}`
}

/** `!` + 20 letters + `:domain` */
export function newRoomId(ports: Ports, domain: string): string {
  return `!${newLetters(ports, 20)}:${domain}`
}

/** As clients expect device ids to look: 10 capitals. */
export function newDeviceId(ports: Ports): string {
  return newLetters(ports, 10).toUpperCase()
}

export function newAccessToken(ports: Ports): string {
  return `syt_${ports.random(32).toString('base64url')}`
}

/** 256 random bits, as URL-safe text */
export function newSecret(ports: Ports): string {
  return ports.random(32).toString('base64url')
}

function newLetters(ports: Ports, length: number): string {
  let text = ''
  // 2^32 is not a multiple of 52; the bias is below 2^-26.
  const random = ports.random(length * 4)
  for (let i = 0; i < length; i++) text += letters[random.readUInt32LE(i * 4) % letters.length]
  return text
}

/** How a bearer secret is kept. Secrets are random, so a plain hash is enough. */
export function hashSecret(secret: string): string {
  return hash('sha256', secret)
}

export function localpartOf(userId: string): string {
  return userId.slice(1, userId.indexOf(':'))
}

export function domainOf(id: string): string {
  return id.slice(id.indexOf(':') + 1)
}
