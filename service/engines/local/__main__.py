"""`python -m service.engines.local prepare MODELS_FOLDER` and, for the engine's own use, `… serve …`."""

import argparse
import sys
from pathlib import Path

from feedback.errors import BurnishError
from service.engines.local.pipe import Pipe


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m service.engines.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="download and unpack the bundled base model")
    prepare.add_argument("models_folder", type=Path)
    serve = commands.add_parser("serve", help="the engine's child process: JSON lines on stdin and stdout")
    serve.add_argument("path", help="the base model's folder or hub id")
    serve.add_argument("--device", default="auto")
    serve.add_argument("--dtype", default="auto")
    serve.add_argument("--max-batch", type=int, default=32)
    serve.add_argument("--max-context-tokens", type=int, default=8192)
    serve.add_argument("--kv-cache-mib", type=int, default=2048)
    serve.add_argument("--prefix-cache-mib", type=int, default=512)
    serve.add_argument("--threads", type=int, default=0)
    serve.add_argument("--no-compiled", dest="compiled", action="store_false")
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        _prepare(arguments.models_folder)
    else:
        pipe = Pipe()
        from service.engines.local.worker import serve as run

        run(
            pipe,
            arguments.path,
            device=arguments.device,
            dtype=arguments.dtype,
            max_batch=arguments.max_batch,
            max_context_tokens=arguments.max_context_tokens,
            kv_cache_mib=arguments.kv_cache_mib,
            prefix_cache_mib=arguments.prefix_cache_mib,
            threads=arguments.threads or None,
            compiled=arguments.compiled,
        )


def _prepare(models_folder: Path) -> None:
    from service.engines.local.base_model import prepare_bundled

    try:
        prepare_bundled(models_folder, lambda line: print(line, file=sys.stderr, flush=True))
    except BurnishError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main()
