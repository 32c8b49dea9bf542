/**
 * Loaded into every test process of a whole run: notes what each HTTP server in it answered, ours and the example bridge's, as JSON lines
 * {method, path, status} in the file REQUEST_RECORD. scripts/endpoints-doc.ts reads them.
 */
import { subscribe } from 'node:diagnostics_channel'
import { appendFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'

const file = process.env['REQUEST_RECORD']
const seen = new Set<string>()

/** Websockets are no answers in the eyes of Node: who opens one notes it. */
export function note(method: string | undefined, url: string, status: number): void {
  // Ids say nothing here and would make a line of each request.
  const path = url.replace(/\?.*$/, '').replaceAll(/\/[^/]*[%!$@:][^/]*/g, '/x')
  const repeated = path.replace(/(\/(?:send|redact|transactions)\/.*?)[^/]*$/, '$1x')
  seen.add(JSON.stringify({ method, path: repeated, status }))
}

if (file) {
  subscribe('http.server.response.finish', (message) => {
    const { request, response } = message as { request: IncomingMessage; response: ServerResponse }
    note(request.method, request.url ?? '', response.statusCode)
  })
  process.on('exit', () => appendFileSync(file, [...seen].map((line) => `${line}\n`).join('')))
}
