/** What GraphQL clients see of an error: Matrix's errcode in the extensions, and nothing of what nobody foresaw. */
import { GraphQLError } from 'graphql'
import { MatrixError } from '../errors.ts'
import type { Ports } from '../ports.ts'

/** The errors of a result, each with `extensions.errcode`. What is unexpected is logged with its stack and masked. */
export function publicErrors(errors: readonly Error[], log: Ports['log']): GraphQLError[] {
  return errors.map((error) => publicError(error, log))
}

const shown = new WeakSet<Error>()

export function publicError(error: Error, log: Ports['log']): GraphQLError {
  // Yoga asks again for what operations.ts gave it.
  if (error instanceof GraphQLError && shown.has(error)) return error
  const made = makePublic(error, log)
  shown.add(made)
  return made
}

function makePublic(error: Error, log: Ports['log']): GraphQLError {
  const place = error instanceof GraphQLError ? { nodes: error.nodes ?? null, path: error.path ?? null } : {}
  let original: Error = error
  while (original instanceof GraphQLError && original.originalError) original = original.originalError
  if (original instanceof MatrixError) {
    return new GraphQLError(original.message, { ...place, extensions: { errcode: original.errcode, ...original.fields } })
  }
  // Syntax, validation, variables: GraphQL's own words are for the client.
  if (original instanceof GraphQLError && !original.path?.length) {
    return new GraphQLError(original.message, { ...place, extensions: { errcode: 'M_BAD_JSON', ...original.extensions } })
  }
  // Nobody is there any more to be told.
  if (original.name === 'AbortError')
    return new GraphQLError('The connection was closed', { ...place, extensions: { errcode: 'M_UNKNOWN' } })
  log.error({ err: original }, 'GraphQL operation failed')
  return new GraphQLError('Internal server error', { ...place, extensions: { errcode: 'M_UNKNOWN' } })
}
