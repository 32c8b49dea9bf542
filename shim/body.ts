/** Bodies that are read whole. Uploads are streams and take as long as they need. */
import type { IncomingMessage } from 'node:http'
import { MatrixError } from '../src/errors.ts'
import type { Ports } from '../src/ports.ts'

/** A request without a token may hold a login, not a history. */
export const anonymousBodyBytes = 65_536
/** From the headers to the last byte. Who is slower would hold a place in a line, or a connection, for ever. */
const mostBodyMs = 30_000

/** Errors: M_TOO_LARGE, before the body is read where its size is announced; M_NOT_JSON when it is cut off; 408 when it does not end. */
export function readBody(payload: IncomingMessage, mostBytes: number, timer: Ports['timer']): Promise<Buffer> {
  const announced = payload.headers['content-length']
  return new Promise((resolve, reject) => {
    if (Number(announced) > mostBytes) return reject(tooLarge())
    const chunks: Buffer[] = []
    let length = 0
    const stop = () => {
      cancel()
      payload.off('data', take).off('end', finish).off('error', cutOff)
    }
    const refuse = (error: MatrixError) => {
      stop()
      reject(error)
    }
    const take = (chunk: Buffer) => {
      length += chunk.length
      if (length > mostBytes) refuse(tooLarge())
      else chunks.push(chunk)
    }
    const cutOff = () => refuse(new MatrixError('M_NOT_JSON', 'The request body was cut off', {}, 400))
    const finish = () => {
      if (announced !== undefined && Number(announced) !== length) return cutOff()
      stop()
      resolve(Buffer.concat(chunks, length))
    }
    const cancel = timer(mostBodyMs, () => refuse(new MatrixError('M_UNKNOWN', 'The request did not come to its end', {}, 408)))
    payload.on('data', take).on('end', finish).on('error', cutOff)
  })
}

function tooLarge(): MatrixError {
  return new MatrixError('M_TOO_LARGE', 'The request body is too large')
}
