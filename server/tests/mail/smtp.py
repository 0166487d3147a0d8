"""A mail server on loopback that keeps what it is given as files.

smtp.py PORT DIRECTORY [--immediate | --starttls CERTIFICATE KEY] [--login USER PASSWORD]
"""

import argparse
import asyncio
import os
import ssl

from aiosmtpd.smtp import SMTP, AuthResult


class Keep:
    def __init__(self, directory):
        self.directory = directory
        self.kept = 0

    async def handle_DATA(self, server, session, envelope):
        self.kept += 1
        encrypted = server.transport.get_extra_info("sslcontext") is not None
        head = (
            f"X-Envelope: {envelope.mail_from} -> {', '.join(envelope.rcpt_tos)}\r\n"
            f"X-Encrypted: {'yes' if encrypted else 'no'}\r\n"
            f"X-Signed-In: {'yes' if session.authenticated else 'no'}\r\n"
        )
        path = os.path.join(self.directory, f"{os.getpid()}-{self.kept}.eml")
        with open(path + ".new", "wb") as file:
            file.write(head.encode() + envelope.content)
        os.rename(path + ".new", path)
        return "250 kept"


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("directory")
    parser.add_argument("--immediate", nargs=2)
    parser.add_argument("--starttls", nargs=2)
    parser.add_argument("--login", nargs=2)
    options = parser.parse_args()
    settings = {"loop": asyncio.get_running_loop()}
    context = None
    if options.immediate or options.starttls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(options.immediate or options.starttls))
    if options.starttls:
        settings.update(tls_context=context, require_starttls=True)
    if options.login:
        wanted = tuple(text.encode() for text in options.login)

        def authenticate(server, session, envelope, mechanism, given):
            good = (given.login, given.password) == wanted
            return AuthResult(success=good, handled=good)

        settings.update(authenticator=authenticate, auth_required=True, auth_require_tls=bool(options.starttls))
    keep = Keep(options.directory)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(keep, **settings),
        "127.0.0.1",
        options.port,
        ssl=context if options.immediate else None,
    )
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
