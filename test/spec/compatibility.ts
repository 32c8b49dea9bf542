/** docs/compatibility.md as data: the rows of its tables with the columns what, state and test. */
import { readFileSync } from 'node:fs'

export interface Row {
  /** the heading above the table */
  readonly section: string
  readonly what: string
  readonly state: string
  /** the title of a test, or a folder of tests */
  readonly shown: string
}

export function readRows(): Row[] {
  const found: Row[] = []
  let section = ''
  let inTable = false
  for (const line of readFileSync('docs/compatibility.md', 'utf8').split('\n')) {
    if (line.startsWith('#')) section = line.replace(/^#+ /, '')
    const cells = line.startsWith('|')
      ? line
          .slice(1, -1)
          .split(/(?<!\\)\|/)
          .map((cell) => cell.trim().replaceAll('\\|', '|'))
      : []
    if (cells.length < 3) inTable = false
    else if (cells.at(-1) === 'Test') inTable = true
    else if (inTable && !/^-+$/.test(cells[0]!)) found.push({ section, what: cells[0]!, state: cells.at(-2)!, shown: cells.at(-1)! })
  }
  return found
}

/** The peers that were tried have a version where the others have a state. */
export function readFeatures(): Row[] {
  return readRows().filter(({ shown }) => !shown.startsWith('`test/'))
}
