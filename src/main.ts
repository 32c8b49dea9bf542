/** The command line: `hungryserv` starts the server; every other command asks the one that runs. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { runCommand, usage } from './commands.ts'
import { readConfig } from './config.ts'
import { systemPorts } from './ports.ts'

const [word = 'start', ...rest] = process.argv.slice(2)

if (word === 'start') await start()
else if (word === 'help' || word === '--help' || word === '-h') process.stdout.write(usage)
else
  process.exitCode = await runCommand([word, ...rest], {
    config: settings(),
    environment: process.env,
    print: (text) => process.stdout.write(text),
    complain: (text) => process.stderr.write(text),
    overwrite: process.stderr.isTTY ? (text) => process.stderr.write(text) : undefined,
  })

async function start(): Promise<void> {
  const config = settings()
  // What it writes is for the user it runs as, whoever made the folder.
  process.umask(0o077)
  const log = pino({ level: config.logLevel, redact: ['*.access_token', '*.password', '*.token', 'headers.authorization'] })
  const ports = systemPorts(log)
  const stop = Promise.withResolvers<number>()
  // Not among the lines of the log, which is kept and read by others.
  const terminal = process.stdout.isTTY ? process.stdout : process.stderr
  const { openServer } = await import('./server.ts')
  const server = await openServer({
    config,
    ports,
    onFirstAccounts({ owner, administrator }) {
      const passwords = `  you             ${owner.userId}   ${owner.password}
  administrator   ${administrator.userId}   ${administrator.password}
`
      if (terminal.isTTY) {
        terminal.write(`\nHungryserv has made your homeserver. These passwords are shown only now:\n\n${passwords}\n`)
        return
      }
      // What a service prints is a log as well.
      const file = join(config.dataDir, 'first-passwords.txt')
      writeFileSync(file, passwords, { mode: 0o600 })
      terminal.write(`\nHungryserv has made your homeserver. Its passwords are in ${file}: read them and delete the file.\n\n`)
    },
    onFatal(error) {
      log.fatal(error, 'nothing durable can be promised any more')
      process.exit(70)
    },
  }).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
    process.exit(1)
  })
  log.info({ url: server.url, database: config.databaseUrl.replace(/:[^:@/]*@/, ':***@') }, 'Hungryserv is listening')
  if (server.firstAccounts) {
    terminal.write(`Log in with any Matrix client: homeserver ${config.publicUrl ?? server.url}, your user name and password.
GraphiQL: ${server.url}/graphql   Bridges: npx hungryserv help

`)
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      log.info({ signal }, 'stopping')
      stop.resolve(0)
    })
  }
  const code = await stop.promise
  await server[Symbol.asyncDispose]()
  process.exit(code)
}

function settings(): ReturnType<typeof readConfig> {
  try {
    return readConfig(process.env)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
    process.exit(1)
  }
}
