/** Reads a TypeScript file without a compiler: what it imports, its strings, and its code without comments and strings. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

export interface Import {
  /** a path from the root of the project, or a package */
  readonly target: string
  readonly local: boolean
  readonly typeOnly: boolean
  readonly reexport: boolean
  readonly names: string
}

export interface Source {
  readonly file: string
  readonly text: string
  readonly lines: number
  readonly imports: readonly Import[]
  readonly strings: readonly string[]
  /** comments gone, strings emptied */
  readonly code: string
}

export const root = join(import.meta.dirname, '..', '..')

export function readSource(file: string): Source {
  const text = readFileSync(join(root, file), 'utf8')
  const { kept, code, strings } = scan(text)
  return { file, text, lines: text.split('\n').length - 1, imports: findImports(file, kept, strings), strings, code }
}

const statement = /(?:^|[\n;])\s*(import|export)\b(?:\s+(type)\b)?([\w\s{},*$]*?)\s*(?:\bfrom\s*)?['"]([^'"]+)['"]/g
const dynamic = /\b(?:import|require)\(\s*['"]([^'"]+)['"]\s*\)/g

function findImports(file: string, kept: string, strings: readonly string[]): Import[] {
  const found: Import[] = []
  const specifiers = new Set<string>()
  const add = (specifier: string, typeOnly: boolean, reexport: boolean, names: string) => {
    specifiers.add(specifier)
    const local = specifier.startsWith('.')
    const target = local ? relative(root, join(root, dirname(file), specifier)).replaceAll('\\', '/') : specifier
    if (local && !target.endsWith('.ts') && !existsSync(join(root, target))) return
    found.push({ target, local, typeOnly, reexport, names: names.trim() })
  }
  for (const [, word, type, names = '', specifier = ''] of kept.matchAll(statement)) {
    const inner = /^\s*\{([^}]*)\}\s*$/.exec(names)?.[1]
    const onlyTypes = inner?.split(',').every((name) => name.trim() === '' || name.trim().startsWith('type '))
    const typeOnly = type === 'type' || onlyTypes === true
    add(specifier, typeOnly, word === 'export', names)
  }
  for (const [, specifier = ''] of kept.matchAll(dynamic)) add(specifier, false, false, '')
  // Any other relative path to a file of ours: a worker.
  for (const text of strings) {
    const worker = /^\.{1,2}\/[\w./-]+\.ts$/.test(text) && !specifiers.has(text)
    if (worker && existsSync(join(root, dirname(file), text))) add(text, false, false, '')
  }
  return found
}

/** One pass over the text: comments, strings, templates (nested) and regular expressions. */
function scan(text: string): { kept: string; code: string; strings: string[] } {
  const strings: string[] = []
  let kept = ''
  let code = ''
  /** the depth of braces at which each open template goes on */
  const templates: number[] = []
  let depth = 0
  let i = 0
  const template = () => {
    const from = i
    while (i < text.length && text[i] !== '`' && !(text[i] === '$' && text[i + 1] === '{')) i += text[i] === '\\' ? 2 : 1
    strings.push(text.slice(from, i))
    if (text[i] === '$') {
      templates.push(depth)
      i += 2
      code += '${'
    } else {
      i += 1
      code += '`'
    }
  }
  while (i < text.length) {
    const c = text[i]!
    const two = text.slice(i, i + 2)
    if (two === '//') {
      while (i < text.length && text[i] !== '\n') i++
    } else if (two === '/*') {
      i = text.indexOf('*/', i) + 2
    } else if (c === "'" || c === '"') {
      const from = i++
      while (text[i] !== c && text[i] !== '\n' && i < text.length) i += text[i] === '\\' ? 2 : 1
      i++
      strings.push(text.slice(from + 1, i - 1))
      kept += text.slice(from, i)
      code += c + c
    } else if (c === '`') {
      i++
      code += c
      template()
    } else if (c === '/' && /(?:^|[=(,:;!&|?{}[\n+]|=>|\breturn|\btypeof)\s*$/.test(code.slice(-20))) {
      let inClass = false
      const from = i++
      while (i < text.length && (inClass || text[i] !== '/') && text[i] !== '\n') {
        if (text[i] === '[') inClass = true
        else if (text[i] === ']') inClass = false
        i += text[i] === '\\' ? 2 : 1
      }
      i++
      strings.push(text.slice(from + 1, i - 1).replaceAll('\\/', '/'))
      code += '/ /'
    } else {
      if (c === '{') depth++
      if (c === '}') {
        if (templates.at(-1) === depth) {
          templates.pop()
          i++
          code += c
          template()
          continue
        }
        depth--
      }
      kept += c
      code += c
      i++
    }
  }
  return { kept, code, strings }
}
