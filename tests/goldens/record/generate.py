# SPDX-License-Identifier: Apache-2.0
"""Writes golden cases.  See README.md.

    python generate.py --out DIR [--cases cases.py] [--only NAME,...]
                       [--no-dist-run]
"""
import argparse
import importlib.util
import os
import sys
import traceback

os.environ.setdefault('PYTHONHASHSEED', '0')
for flag in ('OMP_NUM_THREADS', 'CPU_NUM', 'MKL_NUM_THREADS'):
    os.environ.setdefault(flag, '1')
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


def load_cases(path):
    spec = importlib.util.spec_from_file_location('golden_cases', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.cases()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--out', required=True)
    parser.add_argument('--cases', default=os.path.join(HERE, 'cases.py'))
    parser.add_argument('--only', default='')
    parser.add_argument('--no-dist-run', action='store_true')
    parser.add_argument('--only-dist-run', action='store_true')
    args = parser.parse_args()
    if sys.flags.hash_randomization:
        # Set order decides the order of some transpiler attributes.
        os.environ['PYTHONHASHSEED'] = '0'
        os.execv(sys.executable, [sys.executable] + sys.argv)
    import local_run
    import dist_run
    wanted = [n for n in args.only.split(',') if n]
    failed = []
    for case in load_cases(args.cases):
        if wanted and case.name not in wanted:
            continue
        try:
            if not args.only_dist_run:
                text = local_run.run_case(case, args.out)
                print(case.name, text['repeated_run'], flush=True)
            if case.dist_run and not args.no_dist_run:
                print(case.name, 'dist', dist_run.run(
                    case, args.out, os.path.abspath(args.cases)), flush=True)
        except Exception:
            traceback.print_exc()
            failed.append(case.name)
    print('failed:', failed)


if __name__ == '__main__':
    main()
