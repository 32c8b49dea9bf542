/** How much one document of a GraphQL client may ask for. The shim's own documents are not measured. */
import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  type GraphQLNamedOutputType,
  type GraphQLSchema,
  getNamedType,
  isInterfaceType,
  isIntrospectionType,
  isListType,
  isNullableType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  parse,
  type SelectionSetNode,
  visit,
} from 'graphql'
import { MatrixError } from '../errors.ts'
import { mostItems } from './builder.ts'

/** Words and signs of one document. */
const mostTokens = 4_000
/** Brackets within one another, in selections and in values: what reads a document recurses. */
const mostBrackets = 100
/** Fields below one another. */
const mostDepth = 15
/** Fields of the answer: each field, times the page sizes above it. */
const mostCost = 100_000
/** What a list counts for when the client names no page size. */
const usualItems = 20
/** What a list of the schema's own description counts for: of most things there are none or few. */
const usualParts = 2
/** Pairs of fields that answer under one name: validation compares each with each, and that must not take longer than an answer. */
const mostPairs = 100_000

/** A client's document. Throws a GraphQLError for wrong syntax, a MatrixError (M_INVALID_PARAM) for brackets too deep. */
export function parseDocument(source: string): DocumentNode {
  let depth = 0
  // Strings and comments are stepped over: brackets mean nothing there.
  for (const [piece] of source.matchAll(/"""(?:\\"""|(?!""")[\s\S])*"""|"(?:\\.|[^"\\\n])*"|#.*|[{}[\]()]/g)) {
    if (piece === '{' || piece === '[' || piece === '(') depth++
    else if (piece === '}' || piece === ']' || piece === ')') depth--
    if (depth > mostBrackets)
      throw new MatrixError('M_INVALID_PARAM', `The document has more than ${mostBrackets} brackets within one another`)
  }
  const document = parse(source, { maxTokens: mostTokens })
  checkRepeats(document)
  return document
}

/** 400 M_INVALID_PARAM where the same name stands so often that comparing all of them would hold up everybody. */
function checkRepeats(document: DocumentNode): void {
  const times = new Map<string, number>()
  let pairs = 0
  visit(document, {
    Field(node) {
      const name = (node.alias ?? node.name).value
      const before = times.get(name) ?? 0
      times.set(name, before + 1)
      pairs += before
      if (pairs > mostPairs) throw new MatrixError('M_INVALID_PARAM', 'The document asks for the same names again and again')
    },
  })
}

/** 400 M_INVALID_PARAM for too deep or too costly a document, and for a page of more than 1 000. The document must be valid. */
export function checkLimits(
  schema: GraphQLSchema,
  document: DocumentNode,
  operation: OperationDefinitionNode,
  variables: Readonly<Record<string, unknown>>,
): void {
  const fragments = new Map<string, FragmentDefinitionNode>()
  for (const node of document.definitions) if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node)
  const given = { ...defaultsOf(operation), ...variables }
  new Measure(schema, fragments, given).selection(operation.selectionSet, schema.getRootType(operation.operation) ?? null, 1, 1)
}

/** Page sizes may be said in a variable's default as well. */
function defaultsOf(operation: OperationDefinitionNode): Readonly<Record<string, number>> {
  const defaults: Record<string, number> = {}
  for (const { variable, defaultValue } of operation.variableDefinitions ?? [])
    if (defaultValue?.kind === Kind.INT) defaults[variable.name.value] = Number(defaultValue.value)
  return defaults
}

class Measure {
  private readonly schema: GraphQLSchema
  private readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>
  private readonly variables: Readonly<Record<string, unknown>>
  private cost = 0

  constructor(schema: GraphQLSchema, fragments: ReadonlyMap<string, FragmentDefinitionNode>, variables: Readonly<Record<string, unknown>>) {
    this.schema = schema
    this.fragments = fragments
    this.variables = variables
  }

  /** `items`: how often this selection may stand in the answer. Ends as soon as too much is reached, so fragments cannot explode. */
  selection(set: SelectionSetNode, type: GraphQLNamedOutputType | null, depth: number, items: number): void {
    if (depth > mostDepth) throw new MatrixError('M_INVALID_PARAM', `The document is more than ${mostDepth} fields deep`)
    for (const node of set.selections) {
      if (node.kind === Kind.FIELD) this.field(node, type, depth, items)
      else if (node.kind === Kind.INLINE_FRAGMENT)
        this.selection(node.selectionSet, this.typeOf(node.typeCondition?.name.value) ?? type, depth, items)
      else {
        // An empty spread costs as well, or a thousand of them would be free.
        this.add(items)
        const fragment = this.fragments.get(node.name.value)
        if (fragment) this.selection(fragment.selectionSet, this.typeOf(fragment.typeCondition.name.value), depth, items)
      }
    }
  }

  private field(node: FieldNode, type: GraphQLNamedOutputType | null, depth: number, items: number): void {
    this.add(items)
    const field = isObjectType(type) || isInterfaceType(type) ? this.schema.getField(type, node.name.value) : undefined
    if (field && isIntrospectionType(getNamedType(field.type))) {
      this.description(node, field, type, depth, items)
      return
    }
    const size = field
      ? this.pageSize(
          node,
          field.args.map((arg) => arg.name),
        )
      : null
    if (!node.selectionSet || !field) return
    const outer = isNullableType(field.type) ? field.type : field.type.ofType
    const factor = size ?? (isListType(outer) && !isPage(type) ? usualItems : 1)
    this.selection(node.selectionSet, getNamedType(field.type), depth + 1, items * factor)
  }

  /** A part of what `__schema` or `__type` tells. Not measured by depth, in which `ofType` goes far; validation keeps its lists from going round. */
  private description(
    node: FieldNode,
    field: GraphQLField<unknown, unknown>,
    parent: GraphQLNamedOutputType | null,
    depth: number,
    items: number,
  ): void {
    if (!node.selectionSet) return
    const types = parent?.name === '__Schema' ? Object.keys(this.schema.getTypeMap()).length : null
    const factor = isListType(isNullableType(field.type) ? field.type : field.type.ofType) ? (types ?? usualParts) : 1
    this.selection(node.selectionSet, getNamedType(field.type), depth, items * factor)
  }

  private add(items: number): void {
    this.cost += items
    if (this.cost > mostCost) throw new MatrixError('M_INVALID_PARAM', `The document asks for more than ${mostCost} fields`)
  }

  /** Null for a field without pages. */
  private pageSize(node: FieldNode, args: readonly string[]): number | null {
    let size: number | null = args.some((name) => pageArguments.has(name)) ? usualItems : null
    for (const argument of node.arguments ?? []) {
      if (!pageArguments.has(argument.name.value)) continue
      const { value } = argument
      const given = value.kind === Kind.INT ? Number(value.value) : value.kind === Kind.VARIABLE ? this.variables[value.name.value] : null
      if (typeof given !== 'number') continue
      if (given > mostItems) throw new MatrixError('M_INVALID_PARAM', `${argument.name.value} is ${mostItems} at most`)
      size = Math.max(given, 1)
    }
    return size
  }

  private typeOf(name: string | undefined): GraphQLNamedOutputType | null {
    const type = name === undefined ? undefined : this.schema.getType(name)
    return type && (isObjectType(type) || isInterfaceType(type)) ? type : null
  }
}

const pageArguments: ReadonlySet<string> = new Set(['first', 'last', 'limit'])

/** The edges of a connection were counted with the connection. */
function isPage(type: GraphQLNamedOutputType | null): boolean {
  return type?.name.endsWith('Connection') ?? false
}

/** The fields that an operation asks of its root type, each as often as it stands there. The document must be within its limits. */
export function rootFieldNames(document: DocumentNode, { selections }: SelectionSetNode): string[] {
  return selections.flatMap((selection) => {
    if (selection.kind === Kind.FIELD) return [selection.name.value]
    if (selection.kind === Kind.INLINE_FRAGMENT) return rootFieldNames(document, selection.selectionSet)
    const fragment = document.definitions.find((node) => node.kind === Kind.FRAGMENT_DEFINITION && node.name.value === selection.name.value)
    return fragment?.kind === Kind.FRAGMENT_DEFINITION ? rootFieldNames(document, fragment.selectionSet) : []
  })
}
