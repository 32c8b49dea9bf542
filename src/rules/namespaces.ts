import { RE2JS } from 're2js'

/** One entry of a registration's `namespaces`. https://spec.matrix.org/v1.19/application-service-api/#registration */
export interface NamespaceRule {
  readonly regex: string
  readonly exclusive: boolean
}

/** The users, aliases or rooms that an appservice is interested in. */
export interface Namespace {
  matches(id: string): boolean
  /** Whether the id belongs to the appservice alone. */
  exclusive(id: string): boolean
}

export interface Namespaces {
  readonly users: Namespace
  readonly aliases: Namespace
  readonly rooms: Namespace
}

/**
 * Compiles the namespaces of a registration. A regex matches from the start of an id but need not reach its end (Synapse
 * uses `re.match`), in linear time. Throws an Error that names a regex which is none.
 */
export function compileNamespaces(written: {
  readonly users?: readonly NamespaceRule[] | undefined
  readonly aliases?: readonly NamespaceRule[] | undefined
  readonly rooms?: readonly NamespaceRule[] | undefined
}): Namespaces {
  return {
    users: compileNamespace(written.users ?? []),
    aliases: compileNamespace(written.aliases ?? []),
    rooms: compileNamespace(written.rooms ?? []),
  }
}

export function compileNamespace(rules: readonly NamespaceRule[]): Namespace {
  const all = rules.map((rule) => ({ test: compileRegex(rule.regex), exclusive: rule.exclusive }))
  const exclusive = all.filter((rule) => rule.exclusive)
  return {
    matches: (id) => all.some((rule) => rule.test(id)),
    exclusive: (id) => exclusive.some((rule) => rule.test(id)),
  }
}

function compileRegex(regex: string): (id: string) => boolean {
  const prefix = literalPrefix(regex)
  const compiled = parse(regex)
  return (id) => id.startsWith(prefix) && compiled.test(id)
}

function parse(regex: string): RE2JS {
  try {
    // By itself first: in the group an unbalanced parenthesis could find its partner.
    RE2JS.compile(regex)
    return RE2JS.compile(`\\A(?:${regex})`)
  } catch (cause) {
    throw new Error(`Not a regular expression for a namespace: ${regex} (${cause instanceof Error ? cause.message : cause})`, { cause })
  }
}

/** What every match of a regex begins with, as far as that is plain to see: most ids are told apart by it alone. */
export function literalPrefix(regex: string): string {
  // An alternative may begin otherwise.
  if (regex.includes('|')) return ''
  const [, literals = ''] = /^\^?((?:[^\\.[\](){}*+?^$]|\\[^\p{L}\p{N}])*)/u.exec(regex) ?? []
  const rest = regex.slice(regex.startsWith('^') ? literals.length + 1 : literals.length)
  const tokens = literals.match(/\\.|[^\\]/gsu) ?? []
  // A quantifier may take the last character away.
  if (/^[*?{]/.test(rest)) tokens.pop()
  return tokens.map((token) => (token.startsWith('\\') ? token.slice(1) : token)).join('')
}
