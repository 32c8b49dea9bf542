/** Identical requests under way share one computation: a phone that reconnects often has two of them. */
import { MatrixError } from '../errors.ts'
import { type Instance, local } from '../stream/instance.ts'

interface Work {
  readonly result: Promise<string>
  readonly controller: AbortController
  /** requests that still wait for it */
  waiting: number
}

const underWay = local(() => new Map<string, Work>())

/**
 * What `compute` gives, for all who ask under the same key meanwhile. It is aborted when the last of them is gone. Whose signal is aborted with
 * an error for the client gets that at once.
 */
export async function share(
  instance: Instance,
  key: string,
  signal: AbortSignal,
  compute: (signal: AbortSignal) => Promise<string>,
): Promise<string> {
  const works = underWay(instance)
  let work = works.get(key)
  if (!work || work.controller.signal.aborted) {
    const controller = new AbortController()
    const begun: Work = {
      controller,
      waiting: 0,
      result: compute(controller.signal).finally(() => works.get(key) === begun && works.delete(key)),
    }
    works.set(key, begun)
    work = begun
  }
  const mine = work
  const refused = Promise.withResolvers<never>()
  const leave = (): void => {
    if (--mine.waiting === 0) mine.controller.abort()
    if (signal.reason instanceof MatrixError) refused.reject(signal.reason)
  }
  mine.waiting++
  signal.addEventListener('abort', leave, { once: true })
  if (signal.aborted) leave()
  try {
    return await Promise.race([mine.result, refused.promise])
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
