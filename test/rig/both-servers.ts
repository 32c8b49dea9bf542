/** The same tests against real servers on both engines. */
import { onBothEngines } from '../storage/engines.ts'
import { testPostgres } from './postgres.ts'
import { startServer, type TestServer, type TestServerOptions } from './server.ts'

/** `start` gives a server on a fresh database of the engine. */
export async function onBothServers(
  name: string,
  define: (start: (options?: TestServerOptions) => Promise<TestServer>) => void,
): Promise<void> {
  await onBothEngines(name, (_, engine) =>
    define(async (options = {}) => {
      if (engine === 'sqlite') return startServer(options)
      return startServer({ ...options, databaseUrl: await (await testPostgres()).database('natural') })
    }),
  )
}
