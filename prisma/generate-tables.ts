/** A Prisma generator: writes src/storage/tables.ts (row types, columns, keys) from the models. Run by `npm run codegen`. */

import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const { generatorHandler } = createRequire(import.meta.url)('@prisma/generator-helper') as typeof import('@prisma/generator-helper')

const tsTypes: Record<string, string> = { Int: 'number', BigInt: 'number', String: 'string' }
const sqlTypes: Record<string, string> = { Int: 'int', BigInt: 'bigint', String: 'text' }

generatorHandler({
  onManifest: () => ({ prettyName: 'tables', defaultOutput: '../src/storage/tables.ts' }),
  async onGenerate(options) {
    const lines = [
      '// Written by `npm run codegen` from prisma/models. Do not edit.',
      '',
      "export type ColumnType = 'int' | 'bigint' | 'text'",
      'export interface Table {',
      '  readonly name: string',
      '  readonly columns: Readonly<Record<string, ColumnType>>',
      '  readonly key: readonly string[]',
      '  readonly unique: readonly (readonly string[])[]',
      '}',
      '',
    ]
    const models = options.dmmf.datamodel.models
    for (const model of models) {
      lines.push(`export interface ${model.name}Row {`)
      for (const field of model.fields) lines.push(`  ${field.name}: ${tsTypes[field.type]}${field.isRequired ? '' : ' | null'}`)
      lines.push('}', '')
    }
    lines.push('export interface Rows {')
    for (const model of models) lines.push(`  ${lower(model.name)}: ${model.name}Row`)
    lines.push('}', '', 'export const tables = {')
    for (const model of models) {
      const key = model.primaryKey?.fields ?? model.fields.filter((field) => field.isId).map((field) => field.name)
      const unique = [
        ...model.uniqueFields.map((fields) => [...fields]),
        ...model.fields.filter((field) => field.isUnique).map((field) => [field.name]),
      ]
      lines.push(`  ${lower(model.name)}: {`, `    name: '${model.dbName ?? model.name}',`, '    columns: {')
      for (const field of model.fields) lines.push(`      ${field.name}: '${sqlTypes[field.type]}',`)
      lines.push('    },', `    key: ${list(key)},`, `    unique: [${unique.map(list).join(', ')}],`, '  },')
    }
    lines.push('} as const satisfies Record<keyof Rows, Table>', '', 'export type TableName = keyof Rows', '')
    writeFileSync(options.generator.output?.value ?? '', lines.join('\n'))
  },
})

function lower(name: string): string {
  return name[0]!.toLowerCase() + name.slice(1)
}

function list(names: readonly string[]): string {
  return `[${names.map((name) => `'${name}'`).join(', ')}]`
}
