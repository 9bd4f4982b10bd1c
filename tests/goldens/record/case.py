# SPDX-License-Identifier: Apache-2.0
"""What a golden case is, and how its programs are built."""
import paddle.fluid as fluid


class Net(object):
    """A built network: the feed variables, the loss, further fetches and the
    targets an inference model of it would have."""

    def __init__(self, feeds, loss, fetches=(), targets=(), infer_feeds=None,
                 checkpoints=()):
        self.feeds = list(feeds)
        self.loss = loss
        self.fetches = list(fetches)
        self.targets = list(targets)
        self.infer_feeds = infer_feeds
        self.checkpoints = list(checkpoints)


class Case(object):
    """name      folder name
    net       function returning a Net (called under a program guard)
    opt       function(net) that calls minimize; may return an object that has
              an apply(exe) context (ModelAverage, ExponentialMovingAverage)
    data      object with batch(step) -> {name: (array, lengths or None)}
    info      dict copied to case.json (model, optimizer, ...)
    dist      list of names out of DIST_VARIANTS for which programs are written
    """

    def __init__(self, name, net, opt, data, info, steps=10, seed=1234,
                 inference=False, combined=False, params=False, dist=(),
                 dist_run=None, dist_resume=0, shared_feed=None,
                 grads=True, keep_callstack=False, init_only=False,
                 fetch_steps=None, notes='', workers=1):
        self.name = name
        self.net = net
        self.opt = opt
        self.data = data
        self.info = dict(info)
        self.steps = steps
        self.seed = seed
        self.inference = inference
        self.combined = combined
        self.params = params
        self.dist = list(dist)
        self.dist_run = dist_run          # {'pservers': 2, 'trainers': 2}
        self.dist_resume = dist_resume    # number of further steps
        self.shared_feed = shared_feed
        self.grads = grads
        self.keep_callstack = keep_callstack
        self.init_only = init_only
        self.fetch_steps = fetch_steps
        self.notes = notes
        self.workers = workers            # of a ParallelExecutor (CPU_NUM)


class Built(object):
    pass


def build(case):
    """Builds main and startup of a case from nothing, with fresh names."""
    built = Built()
    built.main = fluid.Program()
    built.startup = fluid.Program()
    built.main.random_seed = case.seed
    built.startup.random_seed = case.seed
    with fluid.unique_name.guard():
        with fluid.program_guard(built.main, built.startup):
            built.net = case.net()
            built.test = built.main.clone(for_test=True)
            built.extra = case.opt(built.net) if case.opt else None
    return built


# Transpiler settings whose programs can be written for a case.
DIST_VARIANTS = {
    'dist': dict(pservers=2, trainers=2),
    'dist_3ps_hash': dict(pservers=3, trainers=2, split_method='HashName'),
    'dist_noslice': dict(pservers=2, trainers=2, slice_var_up=False),
    'dist_async': dict(pservers=2, trainers=2, sync_mode=False),
    'dist_minblock_1024': dict(pservers=2, trainers=2, min_block_size=1024),
    'dist_minblock_16384': dict(pservers=2, trainers=2, min_block_size=16384),
    'dist_3ps': dict(pservers=3, trainers=2),
    'dist_4x4': dict(pservers=4, trainers=4),
    'dist_half_async': dict(pservers=2, trainers=2, sync_mode=False,
                            half_async=True),
    'dist_dc_asgd': dict(pservers=2, trainers=2, sync_mode=False,
                         enable_dc_asgd=True),
    'dist_1ps_1tr': dict(pservers=1, trainers=1),
}

FIRST_PORT = 6174


def endpoints_of(count, first_port=FIRST_PORT):
    return ['127.0.0.1:%d' % (first_port + i) for i in range(count)]


def transpile(built, trainer_id, endpoints, trainers, sync_mode=True,
              current_endpoint='', split_method=None, slice_var_up=None,
              min_block_size=None, enable_dc_asgd=None, half_async=None,
              pservers=None):
    config = fluid.DistributeTranspilerConfig()
    if split_method == 'HashName':
        from paddle.fluid.transpiler.ps_dispatcher import HashName
        config.split_method = HashName
    if slice_var_up is not None:
        config.slice_var_up = slice_var_up
    if min_block_size is not None:
        config.min_block_size = min_block_size
    if enable_dc_asgd is not None:
        config.enable_dc_asgd = enable_dc_asgd
    if half_async:
        config.half_async = True
    transpiler = fluid.DistributeTranspiler(config=config)
    transpiler.transpile(
        trainer_id, program=built.main, startup_program=built.startup,
        pservers=','.join(endpoints), trainers=trainers, sync_mode=sync_mode,
        current_endpoint=current_endpoint)
    return transpiler
