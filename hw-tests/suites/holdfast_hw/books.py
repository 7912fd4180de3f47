"""What was recorded, file by file: which frames were found once, and must be found again, or be on record as given up by retention."""


class Books:
    def __init__(self, box):
        self.box = box
        # Of each session its files, and how many frames were in them when they were looked at last.
        self.sessions = {}
        # Those of them that retention has given up, by the session's journal: each was noted before it went.
        self.given_up = {}
        # Whether retention is on: then files may be given up, and a session may be gone as a whole.
        self.gives_up = False

    def open(self, session):
        self.sessions[session], self.given_up[session] = {}, {}

    def promised(self, session):
        """Frames that were safe when it was looked at last. Those that were given up since count, as the box counts them."""
        return sum(self.sessions[session].values())

    def found(self, session):
        """Frames that were recorded before this boot: those in the session's files, and those on record as given up."""
        return self._look(session, self.box.boot_id().replace("-", ""))

    def close(self, session):
        """Of one that was stopped every file is looked at once more."""
        self._look(session)

    def verify_all(self):
        """Verifies all sessions that are still there; returns how many frames were ever found in them."""
        there = {session["id"] for session in self.box.holdfast("sessions")}
        frames = 0
        for session, files in self.sessions.items():
            assert session in there or self.gives_up or not files, f"session {session} is gone"
            if session in there:
                frames += self._look(session)
        return frames

    def _look(self, session, boot=None):
        """`boot`: what it has recorded is not counted: it goes on."""
        told = self.box.holdfast(f"verify {session}", timeout=900)
        assert told["ok"], [finding for finding in told["findings"] if finding["severity"] != "warning"]
        files = {
            # As the box counts: frames of video, which is a file's first track.
            (file["identity"]["input"], file["identity"]["sequence"]): file["tracks"][0]["frames"]
            for input_ in told["report"]["inputs"]
            for file in input_["files"]
            if file["identity"] and file["tracks"] and file["identity"]["boot_id"] != boot
        }
        given_up = {(file["input"], file["sequence"]): file["frames"] for file in told["given_up"]}
        if boot:
            # The oldest of an input go first: where a file of an earlier boot is there, none of this boot's has gone. Where none is, what nobody
            # has seen may be of either, and does not count: rather a loss too many than one too few.
            inputs = {input_ for input_, _ in files}
            known = self.sessions[session]
            given_up = {file: frames for file, frames in given_up.items() if file[0] in inputs or file in known}
        assert self.gives_up or not given_up, f"nothing wanted room, and retention has given up {given_up} of {session}"
        # A file that was noted, and then the power went, is there still. It is counted once.
        found, known = given_up | files, self.sessions[session]
        gone = {file: frames for file, frames in known.items() if file not in found}
        assert not gone, f"files of {session} are gone, and retention tells nothing of them: {gone}"
        shrunk = {file: (known[file], frames) for file, frames in found.items() if frames < known.get(file, 0)}
        assert not shrunk, f"frames are gone that were there before: {shrunk}"
        self.sessions[session], self.given_up[session] = found, given_up
        return sum(found.values())
