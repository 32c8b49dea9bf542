/** The words that the server's code knows, read from it: keys of content, event types, values. New code brings its own. */
import { globSync } from 'node:fs'
import { readSource, root } from '../rig/source.ts'

const strings = globSync('src/{rules,users,rooms,sync,appservices,devices,push,media}/**/*.ts', { cwd: root })
  .sort()
  .flatMap((file) => readSource(file.replaceAll('\\', '/')).strings)

export const words: readonly string[] = [...new Set(strings)].filter((text) => /^[\w.$-]{1,60}$/.test(text))
export const eventTypes: readonly string[] = words.filter((text) => /^(m|com\.beeper|org\.matrix|fi\.mau)\.[\w.]+$/.test(text))
