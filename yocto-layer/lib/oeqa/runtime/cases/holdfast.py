# SPDX-License-Identifier: MIT
"""A box records, and updates itself without touching a take. Runs on holdfast-image-dev, which lets root in over SSH."""

import json
import os
import time

from oeqa.core.decorator.depends import OETestDepends
from oeqa.runtime.case import OERuntimeTestCase
from oeqa.runtime.decorator.package import OEHasPackage

# An input that needs no camera: pictures with numbers.
INPUT = '[[input]]\nname = "numbers"\nsource = "test"\n'
DROP_IN = '/etc/holdfast/holdfast.toml.d/oeqa.toml'


class HoldfastTest(OERuntimeTestCase):
    def command(self, command, timeout=120):
        status, output = self.target.run(command, timeout=timeout)
        self.assertEqual(status, 0, '%s: %s' % (command, output))
        return output

    def holdfast(self, words, timeout=120):
        return json.loads(self.command('holdfast --json %s' % words, timeout))

    def until(self, what, seconds, look):
        """Asks until `look` gives something, with a deadline. A box that reboots answers nothing: that is no failure."""
        deadline = time.monotonic() + seconds
        last = None
        while time.monotonic() < deadline:
            try:
                last = look()
                if last:
                    return last
            except (AssertionError, ValueError) as error:
                last = error
            time.sleep(2)
        self.fail('%s did not come within %d s; at last: %s' % (what, seconds, last))

    def booted_slot(self):
        return self.holdfast('update status')['booted_slot']

    def ended_after(self, number):
        last = self.holdfast('update status')['last']
        return last if last and last['number'] > number else None

    @OETestDepends(['ssh.SSHTest.test_ssh'])
    @OEHasPackage(['holdfast-recorder'])
    def test_data_is_where_it_belongs(self):
        for path in ('/data', '/var', '/var/lib/holdfast/recordings', '/etc/holdfast'):
            self.command('mountpoint -q %s' % path)
        root = self.command("findmnt -n -o OPTIONS /")
        self.assertIn('ro', root.split(','))
        identity = self.command('cat /data/state/machine-id').strip()
        self.assertEqual(identity, self.command('cat /etc/machine-id').strip())

    @OETestDepends(['holdfast.HoldfastTest.test_data_is_where_it_belongs'])
    def test_recording_is_safe_and_whole(self):
        self.command("mkdir -p %s && printf '%s' >%s" % (os.path.dirname(DROP_IN), INPUT.replace('\n', '\\n'), DROP_IN))
        self.command('systemctl restart holdfast-recorder')
        started = self.holdfast('start --wait 60')
        self.assertEqual(started['state'], 'recording', started)
        time.sleep(5)
        stopped = self.holdfast('stop')
        self.assertGreater(stopped['safe_frames'], 0, stopped)
        self.assertEqual(stopped['lost_frames'], 0, stopped)
        self.assertFalse(stopped['incomplete'], stopped)
        verified = self.holdfast('verify %s' % stopped['session'])
        self.assertTrue(verified['ok'], verified)

    @OETestDepends(['holdfast.HoldfastTest.test_recording_is_safe_and_whole'])
    def test_update_goes_to_the_other_slot_and_proves_itself(self):
        bundle = os.path.join(self.tc.td['DEPLOY_DIR_IMAGE'], 'holdfast-bundle-%s.raucb' % self.tc.td['MACHINE'])
        if not os.path.exists(bundle):
            self.skipTest('there is no %s: bitbake holdfast-bundle' % bundle)
        before = self.booted_slot()
        number = (self.holdfast('update status')['last'] or {'number': 0})['number']
        self.target.copyTo(bundle, '/var/tmp/update.raucb')
        # The same release once more: only by force.
        self.command('holdfast update install --force --no-wait /var/tmp/update.raucb')
        self.until('the other slot', 1800, lambda: self.booted_slot() != before)
        ended = self.until('the end of the trial', 900, lambda: self.ended_after(number))
        self.assertEqual(ended['result'], 'good', ended)
        self.command('rm -f /var/tmp/update.raucb')
