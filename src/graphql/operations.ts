/** Runs the operations of GraphQL clients, over HTTP and websocket alike: limits, execution, errors, the end of subscriptions. */
import {
  createSourceEventStream,
  type ExecutionArgs,
  type ExecutionResult,
  execute,
  executeSubscriptionEvent,
  GraphQLError,
  getOperationAST,
  mapSourceToResponseEvent,
  validateSubscriptionArgs,
} from 'graphql'
import { MatrixError } from '../errors.ts'
import type { Ports } from '../ports.ts'
import type { Context, Host, Identity } from './context.ts'
import { publicErrors } from './errors.ts'
import { settle, writeJson } from './json-text.ts'
import { checkLimits, rootFieldNames } from './limits.ts'

/** A result that writes itself: stored JSON goes through as text. */
export interface WrittenResult extends ExecutionResult {
  readonly stringify: (result: ExecutionResult) => string
}

const controllers = new WeakMap<object, AbortController>()

/** One per operation. Aborted by the end of the connection (`signal`) and, for a subscription, by its own. */
export function newContext(
  host: Host,
  identity: Pick<Context, 'instance' | 'actor'> | Identity,
  from: Pick<Context, 'signal' | 'ip' | 'userAgent' | 'prefixed' | 'charge' | 'release'> & { readonly ts?: number | undefined },
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
    charge: from.charge,
    ...(from.release && { release: from.release }),
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

/** A subscription: results as they come, or one with the errors that kept it from starting. Its last result says what ended it, unless the client did. */
export async function runSubscription(args: ExecutionArgs): Promise<AsyncIterableIterator<WrittenResult> | WrittenResult> {
  const context = args.contextValue as Context
  const { log } = context.host.ports
  const refused = refusal(args, log)
  if (refused) return refused
  const validated = validateSubscriptionArgs(args)
  if (!('schema' in validated)) return written({ errors: validated }, log)
  const source = await createSourceEventStream(validated)
  if (!(Symbol.asyncIterator in source)) return written(source, log)
  // Each event gets a context of its own: what loaders remember holds for one answer, not for the hours of a subscription.
  const results = mapSourceToResponseEvent(validated, source, (event) =>
    executeSubscriptionEvent({ ...event, contextValue: { ...context } }),
  )
  // A generator that waits cannot be returned from outside: the signal ends what it waits for first.
  const end = (reason?: MatrixError) => controllers.get(context)?.abort(reason)
  const stopListening = context.actor ? context.host.onSessionEnd(context.instance, context.actor, end) : () => undefined
  let done = false
  const finish = async (error: unknown): Promise<IteratorResult<WrittenResult>> => {
    done = true
    stopListening()
    end()
    await results.return()
    return error === null ? ended : { value: await written({ errors: [asGraphql(error)] }, log), done: false }
  }
  /** The session that ended; the connection that is gone hears nothing any more. */
  const abortedBy = (): MatrixError | null => (context.signal.reason instanceof MatrixError ? context.signal.reason : null)
  const iterator: AsyncIterableIterator<WrittenResult> = {
    async next() {
      if (done) return ended
      try {
        const result = await results.next()
        if (result.done || context.signal.aborted) return await finish(abortedBy())
        return { value: await written(result.value, log), done: false }
      } catch (error) {
        return finish(context.signal.aborted ? abortedBy() : error)
      }
    },
    return: () => finish(null),
    throw: () => finish(null),
    [Symbol.asyncIterator]() {
      return this
    },
  }
  return iterator
}

const ended = { value: undefined, done: true } as const

function refusal(args: ExecutionArgs, log: Ports['log']): WrittenResult | null {
  const operation = getOperationAST(args.document, args.operationName)
  // Without one, execute says what is wrong.
  if (!operation) return null
  try {
    checkLimits(args.schema, args.document, operation, args.variableValues ?? {})
    ;(args.contextValue as Context).charge?.(rootFieldNames(args.document, operation.selectionSet))
    return null
  } catch (error) {
    return { errors: publicErrors([error as Error], log), stringify }
  }
}

async function written(result: ExecutionResult, log: Ports['log']): Promise<WrittenResult> {
  const errors = result.errors && { errors: publicErrors(result.errors, log) }
  try {
    const data = result.data === undefined ? {} : { data: (await settle(result.data)) as NonNullable<ExecutionResult['data']> | null }
    return { ...data, ...errors, stringify }
  } catch (error) {
    return { errors: publicErrors([asGraphql(error)], log), stringify }
  }
}

function stringify({ data, errors, extensions }: ExecutionResult): string {
  // Nothing in it is still being made: written() settled it.
  return writeJson({ data, errors: errors?.map((error) => error.toJSON()), extensions }) as string
}

function asGraphql(error: unknown): GraphQLError {
  if (error instanceof GraphQLError) return error
  return new GraphQLError('', { originalError: error instanceof Error ? error : new Error(String(error)) })
}
