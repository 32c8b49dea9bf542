/** Batches what the fields of one request ask for one by one: domain functions take arrays. */
import type { Context } from './context.ts'

interface Batch<K, V> {
  readonly keys: K[]
  readonly result: Promise<readonly V[]>
}

/**
 * `loadMany` gets each key once and answers in the order of the keys. Values are remembered for the rest of the request only.
 * `const loadProfile = loader((context, ids: readonly string[]) => profiles(context.instance, ids))`, in a resolver `loadProfile(context, id)`.
 */
export function loader<K extends string | number, V>(
  loadMany: (context: Context, keys: readonly K[]) => Promise<readonly V[]>,
): (context: Context, key: K) => Promise<V> {
  const requests = new WeakMap<Context, { readonly known: Map<K, Promise<V>>; open: Batch<K, V> | null }>()
  return (context, key) => {
    let request = requests.get(context)
    if (!request) {
      request = { known: new Map(), open: null }
      requests.set(context, request)
    }
    const known = request.known.get(key)
    if (known) return known
    const current = request
    if (!current.open) {
      const keys: K[] = []
      // One turn of the event loop later every field of this level has asked.
      const result = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
        current.open = null
        return loadMany(context, keys)
      })
      current.open = { keys, result }
    }
    const { keys, result } = current.open!
    const index = keys.push(key) - 1
    const value = result.then((values) => values[index]!)
    current.known.set(key, value)
    return value
  }
}
