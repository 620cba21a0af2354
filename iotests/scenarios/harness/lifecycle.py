"""The life of a job, with every verb at every status."""

import json

VERBS = ["pause", "resume", "complete", "finalize", "dismiss"]


def prepare_chain(context, size=8 << 20):
    """A server with the images base <- middle <- top, as nodes, each half full and half over the one below."""
    server = context.start()
    backing = None
    for number, name in enumerate(("base", "middle", "top")):
        context.make_qcow2(name, size, backing)
        server.add_image(name, name, backing=backing)
        server.write(name, number + 1, size // 4 * number, size // 2)
        backing = name
    return server


class Life:
    """One job, from its start to its end."""

    def __init__(self, server, job):
        self.server = server
        self.job = job

    def verb(self, verb, **arguments):
        self.server.log(f"job-{verb}", id=self.job, **arguments)

    def wait(self, status, hides=()):
        self.server.wait(self.job, status, hides=hides)

    def refused(self, *allowed):
        """Tries, in both families of commands, all verbs but those that are allowed now, and shows the status."""
        self.server.context.log(f"-- {self.server.job(self.job)['status']}")
        for verb in VERBS:
            if verb not in allowed:
                self.verb(verb)
                self.server.log(f"block-job-{verb}", **{"id" if verb in ("finalize", "dismiss") else "device": self.job})

    def show(self):
        """Logs what both queries tell of the job, but for whether it does something at this instant."""
        for command, key in (("query-jobs", "id"), ("query-block-jobs", "device")):
            for each in self.server(command):
                if each[key] == self.job:
                    shown = {name: value for name, value in each.items() if name not in ("busy", "paused")}
                    self.server.context.log(f"{command}: {json.dumps(shown, sort_keys=True)}")


def lifecycle(context, prepare, command, becomes_ready=False, **arguments):
    """Takes jobs of one kind through their lives.

    `prepare` gives a server with what the job needs, for each life anew. The job must have enough to do for the slowest speed to
    keep it from getting ready.
    """
    def start(title, **more):
        context.section(title)
        server = prepare()
        server.log(command, job_id="job", auto_finalize=False, auto_dismiss=False, **arguments, **more)
        return Life(server, "job")

    def end(life):
        life.verb("dismiss")
        life.wait("null")
        context.log(f"{life.server('query-jobs')} {life.server('query-block-jobs')}")
        life.server.quit()

    life = start("every status", speed=1)
    life.wait("running")
    life.refused("pause")
    life.server.log("block-job-set-speed", device="job", speed=-1)
    life.server.log("block-job-set-speed", device="job", speed=2)
    life.verb("pause")
    life.wait("paused")
    life.refused("resume")
    life.server.log("block-job-set-speed", device="job", speed=0)
    life.verb("resume")
    if becomes_ready:
        life.wait("ready")
        life.show()
        life.refused("pause", "complete")
        life.verb("pause")
        life.wait("standby")
        life.refused("resume", "complete")
        life.verb("resume")
        life.wait("ready")
        life.verb("complete")
    life.wait("pending")
    life.show()
    life.refused("finalize", "pause", "resume")
    life.server.log("block-job-set-speed", device="job", speed=1)
    life.verb("finalize")
    life.wait("concluded")
    life.show()
    life.refused("dismiss")
    life.server.log("block-job-set-speed", device="job", speed=1)
    life.server.log("job-cancel", id="job")
    end(life)

    life = start("cancelled while it runs", speed=1)
    life.wait("running")
    life.server.log("block-job-cancel", device="job")
    life.wait("concluded", hides=("offset", "len"))
    life.refused("dismiss")
    end(life)

    life = start("cancelled while it is paused", speed=1)
    life.wait("running")
    life.verb("pause")
    life.wait("paused")
    life.server.log("block-job-cancel", device="job")
    life.server.log("block-job-cancel", device="job", force=True)
    life.wait("concluded", hides=("offset", "len"))
    end(life)

    life = start("cancelled when all is done")
    if becomes_ready:
        life.wait("ready")
        life.verb("complete")
    life.wait("pending")
    life.verb("cancel")
    life.wait("concluded")
    life.show()
    end(life)

    if becomes_ready:
        for force in (False, True):
            life = start(f"cancelled when it is ready, {'with' if force else 'without'} force")
            life.wait("ready")
            life.server.log("block-job-cancel", device="job", force=force)
            life.wait("concluded" if force else "pending")
            if not force:
                life.verb("finalize")
                life.wait("concluded")
            life.show()
            end(life)

    context.section("by itself")
    server = prepare()
    server.log(command, job_id="job", **arguments)
    if becomes_ready:
        server.wait("job", "ready")
        server.log("job-complete", id="job")
    server.wait("job", "null")
    context.log(f"{server('query-jobs')} {server('query-block-jobs')}")
    server.quit()
