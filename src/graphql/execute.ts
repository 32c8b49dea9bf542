/** Documents made ready once and run in process: the shim's way in. Yoga is for GraphQL clients only. */
import {
  type DocumentNode,
  execute,
  GraphQLError,
  type GraphQLField,
  type GraphQLSchema,
  Kind,
  type OperationDefinitionNode,
  parse,
  validate,
} from 'graphql'
import { compileQuery, isCompiledQuery } from 'graphql-jit'
import { MatrixError } from '../errors.ts'
import type { Context } from './context.ts'
import { allowsLocked, allowsPuppets } from './guard.ts'

export { flow, JsonText, type Piece, writeJson } from './json-text.ts'

/** A document with the types of its result and variables, which exist for the compiler only. */
export interface Document<Result, Variables> {
  readonly source: string
  readonly types?: (variables: Variables) => Result
}

export type Engine = 'graphql-js' | 'graphql-jit'

export interface Operation {
  readonly name: string
  /** whether an appservice acting as the owner may run it */
  readonly puppet: boolean
  /** whether who is locked may run it */
  readonly locked: boolean
  /** names of its root fields */
  readonly fields: readonly string[]
  /** Validates and compiles ahead of the first run. */
  warm(): void
  /** The data; throws what the resolver threw. */
  run(context: Context, variables: Readonly<Record<string, unknown>>): Promise<unknown>
}

interface Result {
  readonly data?: unknown
  readonly errors?: readonly GraphQLError[] | undefined
}
type Run = (context: Context, variables: Readonly<Record<string, unknown>>) => Result | Promise<Result>

/** Parsed at once; validated and compiled when it is first used or warmed. A document that does not fit the schema throws an Error. */
export function prepare(schema: GraphQLSchema, source: string, engine: Engine): Operation {
  const document = parse(source)
  const definition = document.definitions.find((node) => node.kind === Kind.OPERATION_DEFINITION)
  if (!definition?.name) throw new Error(`an operation without a name: ${source}`)
  const name = definition.name.value
  let ready: Run | null = null
  const make = (): Run => {
    const problems = validate(schema, document)
    if (problems.length > 0) throw new Error(`${name}: ${problems.map((problem) => problem.message).join('; ')}`)
    return engine === 'graphql-jit' ? compile(schema, document, name) : interpret(schema, document)
  }
  const fields = rootFields(schema, definition)
  return {
    name,
    puppet: fields.every(allowsPuppets),
    locked: fields.every(allowsLocked),
    fields: fields.map((field) => field.name),
    warm() {
      ready ??= make()
    },
    async run(context, variables) {
      ready ??= make()
      const { data, errors } = await ready(context, withoutUndefined(variables))
      if (errors?.[0]) throw cause(errors[0])
      return data
    },
  }
}

function interpret(schema: GraphQLSchema, document: DocumentNode): Run {
  return (contextValue, variableValues) => execute({ schema, document, contextValue, variableValues })
}

function compile(schema: GraphQLSchema, document: DocumentNode, name: string): Run {
  const compiled = compileQuery(schema, document, name)
  if (!isCompiledQuery(compiled)) throw new Error(`${name}: ${compiled.errors?.map((error) => error.message).join('; ')}`)
  return (context, variables) => compiled.query(undefined, context, variables)
}

function rootFields(schema: GraphQLSchema, operation: OperationDefinitionNode): GraphQLField<unknown, Context>[] {
  const fields = schema.getRootType(operation.operation)?.getFields() ?? {}
  return operation.selectionSet.selections.map((selection) => {
    const field = selection.kind === Kind.FIELD ? fields[selection.name.value] : undefined
    if (!field) throw new Error(`${operation.name?.value}: selects what ${operation.operation} does not have`)
    return field
  })
}

/** An undefined variable is an absent one: else defaults would not apply. */
function withoutUndefined(variables: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  let given: Record<string, unknown> | null = null
  for (const name in variables) {
    if (variables[name] !== undefined) continue
    given ??= { ...variables }
    delete given[name]
  }
  return given ?? variables
}

/** What a resolver threw, below GraphQL's wrapping. A variable that does not fit its type is the client's mistake. */
export function cause(error: Error): Error {
  let current = error
  while (current instanceof GraphQLError && current.originalError) current = current.originalError
  if (!(current instanceof GraphQLError)) return current
  if (current.path && current.path.length > 0) return current
  return new MatrixError('M_INVALID_PARAM', current.message)
}
