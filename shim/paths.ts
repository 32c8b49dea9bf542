/** Which addresses an endpoint answers under, and what a path means that no route took. */
import type { NamedEndpoint } from './endpoint.ts'

/** Every spelling of an endpoint's path, in the router's notation (`:roomId`). */
export function addressesOf(endpoint: { readonly path: string; readonly aliases: readonly string[] }): string[] {
  const paths = [endpoint.path, ...endpoint.aliases].flatMap(versionsOf).flatMap(spellingsOf)
  return [...new Set(paths)].map((path) => path.replaceAll(/\{(\w+)\}/g, ':$1'))
}

/** "Serve v3 and keep the aliases r0" (old bots, hydrogen), and for media r0 and v1 beside v3. */
function versionsOf(path: string): string[] {
  if (path.startsWith('/_matrix/client/v3/')) return [path, path.replace('/v3/', '/r0/')]
  if (path.startsWith('/_matrix/media/v3/')) return [path, path.replace('/v3/', '/r0/'), path.replace('/v3/', '/v1/')]
  return [path]
}

/** "If stateKey is an empty string, the trailing slash on this endpoint is optional." */
function spellingsOf(path: string): string[] {
  return path.endsWith('/state/{eventType}/{stateKey}') ? [path, path.replace('{stateKey}', ''), path.replace('/{stateKey}', '')] : [path]
}

/** Finds the methods that a path knows, for 405 instead of 404. Asked only when no route took the request. */
export function knownMethods(endpoints: readonly NamedEndpoint[]): (path: string) => string[] {
  const patterns = endpoints.flatMap((endpoint) =>
    addressesOf(endpoint).map((address) => ({ method: endpoint.method, parts: address.split('/') })),
  )
  return (path) => {
    const parts = path.split('/')
    const methods = patterns
      .filter(
        (pattern) =>
          pattern.parts.length === parts.length &&
          pattern.parts.every((part, i) => part === parts[i] || (part[0] === ':' && parts[i] !== '')),
      )
      .map((pattern) => pattern.method)
    return [...new Set(methods)]
  }
}

/** Splits `/_hungryserv/{instance}` off: one routing table serves both. */
export function splitPrefix(url: string): { prefix: string | null; url: string } {
  const match = /^\/_hungryserv\/([^/?]+)(\/.*)$/s.exec(url)
  if (!match) return { prefix: null, url }
  try {
    return { prefix: decodeURIComponent(match[1]!), url: match[2]! }
  } catch {
    return { prefix: match[1]!, url: match[2]! }
  }
}
