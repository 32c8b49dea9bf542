/** Python's packages of the bridge, from wheels of PyPI: once for each requirements.txt, in a folder under the temporary one. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const requirements = join(import.meta.dirname, 'requirements.txt')

/** `program`: a Python that has them; `missing`: the reason why there is none. Throws when the packages cannot be had. */
export async function installPython(): Promise<{ program: string; missing: string | null }> {
  const version = await run('python3', ['-c', 'import ensurepip, sys, venv; print(sys.version)']).catch(() => null)
  if (!version) return { program: '', missing: 'python3 with venv is not installed' }
  if (Number(/^3\.(\d+)/.exec(version.stdout)?.[1]) < 10) return { program: '', missing: 'python3 is older than 3.10' }
  const name = createHash('sha256').update(version.stdout).update(readFileSync(requirements)).digest('hex').slice(0, 16)
  const home = join(tmpdir(), `hungryserv-python-${name}`)
  if (!existsSync(home)) {
    // Complete or not there: another run may look at the same time.
    const packages = mkdtempSync(`${home}-`)
    process.stdout.write('pip install\n')
    await run('python3', ['-m', 'venv', packages])
    await run(join(packages, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', '--only-binary=:all:', '-r', requirements])
    try {
      renameSync(packages, home)
    } catch (error) {
      rmSync(packages, { recursive: true, force: true })
      if (!existsSync(home)) throw error
    }
  }
  return { program: join(home, 'bin', 'python'), missing: null }
}
