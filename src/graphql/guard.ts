/**
 * What holds for every operation of both faces, said once in the schema and enforced here:
 *
 * - **Puppets.** An appservice acting as the instance's owner may use a root field only when its extensions say `puppet: true`, and never a
 *   field that says `puppet: false`. Rules that depend on the room stand in the domain function.
 * - **Locked people** may use a root field only when its extensions say `locked: true`.
 * - **Suspended people** may use all root fields but those whose extensions say `suspended: false`, or say it of these arguments.
 * - **Identifiers.** NUL and lone surrogates in ID and String arguments are refused: PostgreSQL refuses or silently changes them.
 */
import {
  defaultFieldResolver,
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLSchema,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
} from 'graphql'
import { forbidden, MatrixError } from '../errors.ts'
import type { Actor } from '../users/actor.ts'
import { standingOf, userSuspended } from '../users/standing.ts'
import { type Context, requireUnlocked } from './context.ts'

/** Whether an appservice acting as the owner may use this root field. */
export function allowsPuppets(field: GraphQLField<unknown, Context>): boolean {
  return field.extensions['puppet'] === true
}

/** Whether who is locked may use this root field. */
export function allowsLocked(field: GraphQLField<unknown, Context>): boolean {
  return field.extensions['locked'] === true
}

/** Whether who is suspended may use this root field, with these arguments where it depends on them. */
type Suspended = boolean | ((args: Readonly<Record<string, unknown>>, actor: Actor) => boolean)

/** Wraps the resolvers of the schema in place. */
export function guard(schema: GraphQLSchema): GraphQLSchema {
  const subscription = schema.getSubscriptionType()
  const roots = [schema.getQueryType(), schema.getMutationType(), subscription]
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) || type.name.startsWith('__')) continue
    for (const field of Object.values(type.getFields())) {
      const isRoot = roots.includes(type)
      const open = isRoot ? allowsPuppets(field) : field.extensions['puppet'] !== false
      const check = argumentsCheck(field.args)
      if (open && !check && !isRoot) continue
      const suspended = (field.extensions['suspended'] ?? true) as Suspended
      if (suspended === false) field.description += ' M_USER_SUSPENDED for who is suspended.'
      const resolver = type === subscription ? 'subscribe' : 'resolve'
      const inner = field[resolver] ?? defaultFieldResolver
      field[resolver] = (source, args, context: Context, info) => {
        if (isRoot) checkStanding(context, allowsLocked(field), suspended, args)
        if (!open && context.actor?.puppet) throw forbidden('An appservice may not do this for the owner')
        check?.(args)
        return inner(source, args, context, info)
      }
    }
  }
  return schema
}

function checkStanding(context: Context, locked: boolean, suspended: Suspended, args: Readonly<Record<string, unknown>>): void {
  const { instance, actor } = context
  if (!actor) return
  if (!locked) requireUnlocked(context)
  if (suspended === true || !standingOf(instance, actor).suspended) return
  if (suspended === false || !suspended(args, actor)) throw userSuspended()
}

type Check = (value: unknown) => void

function argumentsCheck(args: readonly GraphQLArgument[]): Check | null {
  return propertiesCheck(
    args.map((arg) => [arg.name, arg.type] as const),
    new Map(),
  )
}

function propertiesCheck(
  types: readonly (readonly [string, GraphQLInputType])[],
  known: Map<GraphQLInputType, Check | null>,
): Check | null {
  const checks: (readonly [string, Check])[] = []
  for (const [name, type] of types) {
    const check = typeCheck(type, name, known)
    if (check) checks.push([name, check])
  }
  if (checks.length === 0) return null
  return (value) => {
    for (const [name, check] of checks) check((value as Record<string, unknown>)[name])
  }
}

/** Null when nothing of this type can hold a wrong string. */
function typeCheck(type: GraphQLInputType, name: string, known: Map<GraphQLInputType, Check | null>): Check | null {
  if (isNonNullType(type)) return typeCheck(type.ofType, name, known)
  if (isListType(type)) {
    const check = typeCheck(type.ofType, name, known)
    return check && ((value) => Array.isArray(value) && value.forEach(check))
  }
  if (isInputObjectType(type)) {
    const found = known.get(type)
    if (found !== undefined) return found
    // An input type may hold itself: until its check is made, one that looks it up stands in.
    known.set(type, (value) => known.get(type)?.(value))
    const inner = propertiesCheck(
      Object.values(type.getFields()).map((field) => [field.name, field.type] as const),
      known,
    )
    const check: Check | null = inner && ((value) => typeof value === 'object' && value !== null && inner(value))
    known.set(type, check)
    return check
  }
  if (type.name !== 'ID' && type.name !== 'String') return null
  return (value) => {
    if (typeof value === 'string' && (value.includes('\0') || !value.isWellFormed())) {
      throw new MatrixError('M_INVALID_PARAM', `${name} holds a character that cannot be stored`)
    }
  }
}
