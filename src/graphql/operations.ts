/** Runs the operations of GraphQL clients, over HTTP and websocket alike: limits, execution, errors, the end of subscriptions. */
import { type ExecutionArgs, type ExecutionResult, execute, GraphQLError, getOperationAST, subscribe } from 'graphql'
import type { Ports } from '../ports.ts'
import type { Context, Host, Identity } from './context.ts'
import { publicErrors } from './errors.ts'
import { settle, writeJson } from './json-text.ts'
import { checkLimits } from './limits.ts'

/** A result that writes itself: stored JSON goes through as text. */
export interface WrittenResult extends ExecutionResult {
  readonly stringify: (result: ExecutionResult) => string
}

const controllers = new WeakMap<object, AbortController>()

/** One per operation. Aborted by the end of the connection (`signal`) and, for a subscription, by its own. */
export function newContext(
  host: Host,
  identity: Pick<Context, 'instance' | 'actor'> | Identity,
  from: Pick<Context, 'signal' | 'ip' | 'userAgent' | 'prefixed'> & { readonly ts?: number | undefined },
): Context {
  const controller = new AbortController()
  const context: Context = {
    host,
    instance: identity.instance,
    actor: identity.actor,
    signal: AbortSignal.any([from.signal, controller.signal]),
    ip: from.ip,
    userAgent: from.userAgent,
    ts: from.ts,
    prefixed: from.prefixed ?? false,
  }
  controllers.set(context, controller)
  return context
}

/** A query or mutation. */
export async function runOnce(args: ExecutionArgs): Promise<WrittenResult> {
  const context = args.contextValue as Context
  const { log } = context.host.ports
  const refused = refusal(args, log)
  if (refused) return refused
  return written(await execute(args), log)
}

/** A subscription: results as they come, or one with the errors that kept it from starting. */
export async function runSubscription(args: ExecutionArgs): Promise<AsyncIterableIterator<WrittenResult> | WrittenResult> {
  const context = args.contextValue as Context
  const { log } = context.host.ports
  const refused = refusal(args, log)
  if (refused) return refused
  const results = await subscribe(args)
  if (!(Symbol.asyncIterator in results)) return written(results, log)
  // A generator that waits cannot be returned from outside: the signal ends what it waits for first.
  const end = () => controllers.get(context)?.abort()
  const ended = { value: undefined, done: true } as const
  const iterator: AsyncIterableIterator<WrittenResult> = {
    async next() {
      try {
        const result = await results.next()
        return result.done ? ended : { value: await written(result.value, log), done: false }
      } catch (error) {
        // The connection is gone, or the client ended it: nobody waits for an error.
        const unheard = context.signal.aborted
        end()
        await results.return()
        if (unheard) return ended
        return { value: await written({ errors: [asGraphql(error)] }, log), done: false }
      }
    },
    async return() {
      end()
      await results.return()
      return ended
    },
    async throw() {
      end()
      await results.return()
      return ended
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
  return iterator
}

function refusal(args: ExecutionArgs, log: Ports['log']): WrittenResult | null {
  const operation = getOperationAST(args.document, args.operationName)
  // Without one, execute says what is wrong.
  if (!operation) return null
  try {
    checkLimits(args.schema, args.document, operation, args.variableValues ?? {})
    return null
  } catch (error) {
    return { errors: publicErrors([error as Error], log), stringify }
  }
}

async function written(result: ExecutionResult, log: Ports['log']): Promise<WrittenResult> {
  const data = result.data === undefined ? {} : { data: (await settle(result.data)) as NonNullable<ExecutionResult['data']> | null }
  return { ...data, ...(result.errors && { errors: publicErrors(result.errors, log) }), stringify }
}

function stringify({ data, errors, extensions }: ExecutionResult): string {
  // Nothing in it is still being made: written() settled it.
  return writeJson({ data, errors: errors?.map((error) => error.toJSON()), extensions }) as string
}

function asGraphql(error: unknown): GraphQLError {
  if (error instanceof GraphQLError) return error
  return new GraphQLError('', { originalError: error instanceof Error ? error : new Error(String(error)) })
}
