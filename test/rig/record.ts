/**
 * Loaded into every test process of a whole run: notes what each HTTP server in it answered, ours and the example bridge's, as JSON lines
 * {method, path, status} in the file REQUEST_RECORD. scripts/endpoints-doc.ts reads them.
 */
import { subscribe } from 'node:diagnostics_channel'
import { appendFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'

const file = process.env['REQUEST_RECORD']
const seen = new Set<string>()

if (file) {
  subscribe('http.server.response.finish', (message) => {
    const { request, response } = message as { request: IncomingMessage; response: ServerResponse }
    // Ids say nothing here and would make a line of each request.
    const path = (request.url ?? '').replace(/\?.*$/, '').replaceAll(/\/[^/]*[%!$@:][^/]*/g, '/x')
    const repeated = path.replace(/(\/(?:send|redact|transactions)\/.*?)[^/]*$/, '$1x')
    seen.add(JSON.stringify({ method: request.method, path: repeated, status: response.statusCode }))
  })
  process.on('exit', () => appendFileSync(file, [...seen].map((line) => `${line}\n`).join('')))
}
