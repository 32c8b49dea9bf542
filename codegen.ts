/**
 * `npm run codegen`: row types from the Prisma models, the SDL from the schema, and the types of the clients' documents from the SDL.
 * Needs none of what it writes. `--check` writes nothing and fails when something is stale.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  buildSchema,
  type FragmentDefinitionNode,
  type GraphQLInputType,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLOutputType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
  Kind,
  lexicographicSortSchema,
  parse,
  printSchema,
  type SelectionSetNode,
  typeFromAST,
  validate,
} from 'graphql'

const root = import.meta.dirname
const checking = process.argv.includes('--check')
const stale: string[] = []
const problems: string[] = []

/** Where a client keeps its documents, and where their types go. */
const clients = [{ from: 'shim/endpoints', to: 'shim/generated/documents.ts', jsonText: '../../src/graphql/execute.ts' }]

/** What a scalar is in process: what the shim gives and gets. */
const scalars: Readonly<Record<string, { readonly input: string; readonly output: string }>> = {
  ID: { input: 'string', output: 'string' },
  String: { input: 'string', output: 'string' },
  Boolean: { input: 'boolean', output: 'boolean' },
  Int: { input: 'number', output: 'number' },
  Float: { input: 'number', output: 'number' },
  Position: { input: 'number', output: 'number' },
  Timestamp: { input: 'number', output: 'number' },
  JSON: { input: 'unknown', output: 'unknown' },
  JsonObject: { input: 'object', output: 'object' },
  EventContent: { input: 'object', output: 'object' },
  ClientEvent: { input: 'never', output: 'JsonText' },
  RawJson: { input: 'never', output: 'JsonText' },
}

if (!checking) generateTables()
const { schema } = (await import('./src/graphql/schema.ts')) as { schema: GraphQLSchema }
const sdl = `${printSchema(lexicographicSortSchema(schema))}\n`
put('src/graphql/schema.graphql', sdl)
for (const client of clients) put(client.to, documentTypes(buildSchema(sdl), join(root, client.from), client.jsonText))
for (const problem of problems) process.stderr.write(`${problem}\n`)
if (problems.length > 0) process.exitCode = 1
if (stale.length > 0) {
  process.stderr.write(`stale, run npm run codegen: ${stale.join(', ')}\n`)
  process.exitCode = 1
}

/** Prisma asks for an engine that generating does not use: any file will do. */
function generateTables(): void {
  const prisma = join(root, 'node_modules/prisma/build/index.js')
  const env = { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath }
  const run = spawnSync(process.execPath, [prisma, 'generate'], { cwd: root, env, encoding: 'utf8' })
  if (run.status !== 0) throw new Error(`prisma generate failed: ${run.stdout}${run.stderr}`)
}

function put(file: string, text: string): void {
  const path = join(root, file)
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return
  if (checking) {
    stale.push(file)
    return
  }
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

function documentTypes(from: GraphQLSchema, folder: string, jsonText: string): string {
  const sources = new Map<string, string>()
  for (const file of readdirSync(folder)
    .filter((name) => /\.tsx?$/.test(name))
    .sort()) {
    for (const match of readFileSync(join(folder, file), 'utf8').matchAll(/\bgraphql\(\s*`([^`]*)`/g)) {
      const source = match[1]!
      if (sources.has(source)) continue
      try {
        sources.set(source, entry(from, source, file))
      } catch (error) {
        // The others get their types all the same.
        problems.push(error instanceof Error ? error.message : String(error))
      }
    }
  }
  const inputs = new Map<string, string>()
  const used = [...sources.values()].join('')
  for (const type of Object.values(from.getTypeMap())) {
    if (type.name.startsWith('__') || (!isInputObjectType(type) && !isEnumType(type))) continue
    inputs.set(
      type.name,
      isEnumType(type)
        ? enumType(
            type.getValues().map((value) => value.name),
            type.name,
          )
        : inputObject(type.name, type.getFields()),
    )
  }
  const reached = reachable(used, inputs)
  return [
    '// Written by `npm run codegen` from the documents beside it. Do not edit.',
    ...(/\bJsonText\b/.test(used) ? [`import type { JsonText } from '${jsonText}'`] : []),
    '',
    ...[...inputs].filter(([name]) => reached.has(name)).map(([, text]) => text),
    'export interface Documents {',
    ...sources.values(),
    '}',
    '',
  ].join('\n')
}

/** Names of inputs and enums that the documents use, by themselves or through one another. */
function reachable(text: string, inputs: ReadonlyMap<string, string>): Set<string> {
  const reached = new Set<string>()
  const visit = (from: string) => {
    for (const name of inputs.keys()) {
      if (reached.has(name) || !new RegExp(`\\b${name}\\b`).test(from)) continue
      reached.add(name)
      visit(inputs.get(name)!)
    }
  }
  visit(text.replaceAll(/^ {2}\[`[^`]*`\]/gm, ''))
  return reached
}

function entry(from: GraphQLSchema, source: string, file: string): string {
  const document = parse(source)
  const misfits = validate(from, document)
  if (misfits.length > 0) throw new Error(`${file}: ${misfits.map((misfit) => misfit.message).join('\n')}\n${source}`)
  const operations = document.definitions.filter((node) => node.kind === Kind.OPERATION_DEFINITION)
  const operation = operations[0]
  if (!operation?.name || operations.length !== 1) throw new Error(`${file}: a document needs one operation with a name:\n${source}`)
  const fragments = new Map<string, FragmentDefinitionNode>()
  for (const node of document.definitions) if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node)
  const variables = (operation.variableDefinitions ?? []).map((definition) => {
    const type = typeFromAST(from, definition.type) as GraphQLInputType
    return property(definition.variable.name.value, type, definition.defaultValue !== undefined)
  })
  const result = selection(from.getRootType(operation.operation)!, operation.selectionSet, { schema: from, fragments })
  return [`  [\`${source}\`]: {`, `    variables: { ${variables.join('; ')} }`, `    result: ${result}`, '  }'].join('\n')
}

function property(name: string, type: GraphQLInputType, optional: boolean): string {
  return isNonNullType(type) && !optional ? `readonly ${name}: ${inputType(type)}` : `readonly ${name}?: ${inputType(type)} | undefined`
}

function inputType(type: GraphQLInputType): string {
  if (isNonNullType(type)) return bareInput(type.ofType)
  return `${bareInput(type)} | null`
}

function bareInput(type: GraphQLInputType): string {
  if (isNonNullType(type)) return inputType(type)
  if (isListType(type)) return `readonly (${inputType(type.ofType)})[]`
  return scalars[type.name]?.input ?? type.name
}

function inputObject(
  name: string,
  fields: Readonly<Record<string, { readonly name: string; readonly type: GraphQLInputType; readonly defaultValue?: unknown }>>,
): string {
  const lines = Object.values(fields).map((field) => `  ${property(field.name, field.type, field.defaultValue !== undefined)}`)
  return [`export interface ${name} {`, ...lines, '}', ''].join('\n')
}

function enumType(values: readonly string[], name: string): string {
  return `export type ${name} = ${values.map((value) => `'${value}'`).join(' | ')}\n`
}

interface Scope {
  readonly schema: GraphQLSchema
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>
}

/** The type of what a selection gives: for an abstract type one alternative per object type. */
function selection(type: GraphQLNamedType, set: SelectionSetNode, scope: Scope): string {
  const objects = isAbstractType(type) ? scope.schema.getPossibleTypes(type) : isObjectType(type) ? [type] : []
  const alternatives = objects.map((object) => {
    const fields = new Map<string, { type: GraphQLOutputType | string; sets: SelectionSetNode[]; optional: boolean }>()
    collect(object, set, scope, fields, false)
    const properties = [...fields].map(([name, field]) => {
      const text = typeof field.type === 'string' ? field.type : outputType(field.type, field.sets, scope)
      return `readonly ${name}${field.optional ? '?' : ''}: ${text}`
    })
    return `{ ${properties.join('; ')} }`
  })
  return [...new Set(alternatives)].join(' | ')
}

function collect(
  object: GraphQLObjectType,
  set: SelectionSetNode,
  scope: Scope,
  fields: Map<string, { type: GraphQLOutputType | string; sets: SelectionSetNode[]; optional: boolean }>,
  maybe: boolean,
): void {
  for (const node of set.selections) {
    const optional =
      maybe || (node.directives ?? []).some((directive) => directive.name.value === 'include' || directive.name.value === 'skip')
    if (node.kind === Kind.FIELD) {
      const name = node.alias?.value ?? node.name.value
      const type = node.name.value === '__typename' ? `'${object.name}'` : object.getFields()[node.name.value]!.type
      const field = fields.get(name) ?? { type, sets: [], optional }
      if (node.selectionSet) field.sets.push(node.selectionSet)
      field.optional &&= optional
      fields.set(name, field)
      continue
    }
    const fragment = node.kind === Kind.FRAGMENT_SPREAD ? scope.fragments.get(node.name.value)! : node
    const condition = fragment.typeCondition ? scope.schema.getType(fragment.typeCondition.name.value) : object
    const applies = condition === object || (isAbstractType(condition) && scope.schema.isSubType(condition, object))
    if (applies) collect(object, fragment.selectionSet, scope, fields, optional)
  }
}

function outputType(type: GraphQLOutputType, sets: readonly SelectionSetNode[], scope: Scope): string {
  if (isNonNullType(type)) return bareOutput(type.ofType, sets, scope)
  return `${bareOutput(type, sets, scope)} | null`
}

function bareOutput(type: GraphQLOutputType, sets: readonly SelectionSetNode[], scope: Scope): string {
  if (isNonNullType(type)) return outputType(type, sets, scope)
  if (isListType(type)) return `readonly (${outputType(type.ofType, sets, scope)})[]`
  const named = getNamedType(type)
  if (sets.length === 0) return scalars[named.name]?.output ?? named.name
  const merged: SelectionSetNode = { kind: Kind.SELECTION_SET, selections: sets.flatMap((set) => set.selections) }
  return `(${selection(named, merged, scope)})`
}
