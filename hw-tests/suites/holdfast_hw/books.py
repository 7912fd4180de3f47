"""What was recorded, file by file: which frames were found once, and must be found again unless retention gave them up."""


class Books:
    def __init__(self, box):
        self.box = box
        # Of each session its files, and how many frames were in them when they were looked at last.
        self.sessions = {}
        # Files that retention has given up, by session. What the box calls safe is without them.
        self.given_up = {}
        # How many more files retention tells of than are known to be gone: files that came and went between two looks.
        self.unseen = {}
        # What went between the look before the last and the last: its frames, None if nobody had counted all of them. The box counts as
        # safe what was there when it started, so this may be in its figure still.
        self.went = {}
        # Whether retention had something to do: then a session may be gone as a whole.
        self.gives_up = False

    def open(self, session):
        self.sessions[session] = {}
        self.given_up[session] = set()
        self.unseen[session] = 0
        self.went[session] = 0

    def promised(self, session):
        """Frames that were there when it was looked at last."""
        return sum(frames for file, frames in self.sessions[session].items() if file not in self.given_up[session])

    def found(self, session):
        """Frames of a session that were recorded before this boot: those in its files, and those that retention has given up since the boot before
        this one began, or a little longer. None where that can't be told, as it has given up files whose frames nobody has counted.
        """
        boot = self.box.boot_id().replace("-", "")
        return self._look(session, lambda file: file["identity"]["boot_id"] != boot)

    def close(self, session):
        """Of one that was stopped every file is looked at once more."""
        self._look(session, lambda file: True)

    def verify_all(self):
        """Verifies all sessions that are still there; returns how many frames were ever found in them."""
        there = {session["id"] for session in self.box.holdfast("sessions")}
        frames = 0
        for session, files in self.sessions.items():
            assert session in there or self.gives_up or not files, f"session {session} is gone"
            if session in there:
                self._look(session, lambda file: True)
                frames += sum(self.sessions[session].values())
        return frames

    def _look(self, session, counts):
        report = self.box.holdfast(f"verify {session}", timeout=900)
        assert report["ok"], [finding for finding in report["findings"] if finding["severity"] != "warning"]
        files = {
            file["identity"]["file_id"]: sum(track["frames"] for track in file["tracks"])
            for input_ in report["report"]["inputs"]
            for file in input_["files"]
            if file["identity"] and counts(file)
        }
        known = self.sessions[session]
        gone = set(known) - set(files)
        deleted = self.box.holdfast(f"show {session}")["deleted_files"]
        assert len(gone) <= deleted, f"{len(gone)} files of {session} are gone, and retention tells of {deleted}"
        shrunk = {file: (known[file], frames) for file, frames in files.items() if frames < known.get(file, 0)}
        assert not shrunk, f"frames are gone that were there before: {shrunk}"
        newly = gone - self.given_up[session]
        unseen, before = deleted - len(gone), self.unseen[session]
        known |= files
        self.given_up[session], self.unseen[session] = gone, unseen
        went_before = self.went[session]
        went = self.went[session] = None if unseen > before else sum(known[file] for file in newly)
        return None if went is None or went_before is None else sum(files.values()) + went + went_before
