"""`vmferry plan --to xl` and `template --xen`: what a running QEMU says of itself becomes the configuration of a Xen domain, and
the machine that Xen's device model makes of it has the same devices at the same places."""
import json
import pathlib
import subprocess
import tempfile
import unittest

import captures
from qmp import Qmp
from replay import VMFERRY

DONE, REFUSED, USAGE, ENVIRONMENT = 0, 1, 2, 4
TEMPLATES = captures.FOLDER / "templates"
# Features that TCG has and the templates' nested hosts have not.
CPU = "max,-svm,-smap,-smep,-la57,-pku,-mpx,-rdpid,-monitor,-vme,-pks,-pcommit,-wbnoinvd"

PLAIN = ("-M", "pc,hpet=off", "-cpu", CPU, "-m", "112", "-smp", "2", "-nodefaults", "-device",
         "cirrus-vga,addr=2,vgamem_mb=8", "-device", "e1000,addr=3,mac=00:16:3e:11:22:44", "-drive",
         "if=ide,index=0,driver=null-co,size=1048576", "-serial", "null")
PLAIN_MAPPING = ("--disk", "hda=/dev/vg/{name}", "--nic", "0=xenbr0")
SCATTERED = ("-M", "pc,hpet=off", "-cpu", CPU, "-m", "128", "-nodefaults", "-usb", "-device", "usb-tablet", "-device",
             "VGA,addr=4", "-device", "virtio-net-pci,addr=7,mac=00:16:3e:11:22:45", "-device", "rtl8139,addr=2,mac=00:16:3e:11:22:46",
             "-device", "virtio-blk-pci,drive=d,id=root,addr=9,num-queues=2", "-drive",
             "if=none,id=d,driver=null-co,size=1048576", "-device", "cirrus-vga,addr=5,vgamem_mb=4")


class Machine:
    """A QEMU that does not run."""

    def __init__(self, test, words):
        folder = pathlib.Path(test.enterContext(tempfile.TemporaryDirectory(prefix="vmferry-plan-")))
        # One for vmferry, one for the test: a QMP socket serves one client at a time.
        self.socket, own, self.stream = folder / "qmp", folder / "own", folder / "stream"
        self.process = subprocess.Popen(["qemu-system-x86_64", "-accel", "tcg", "-S", "-display", "none", "-qmp",
                                         f"unix:{self.socket},server=on,wait=off", "-qmp", f"unix:{own},server=on,wait=off", *words], stderr=subprocess.DEVNULL)
        test.addCleanup(self.end)
        self.qmp = Qmp(own, alive=lambda: self.process.poll() is None)

    def end(self):
        self.process.kill()
        self.process.wait()

    def migrate(self):
        self.qmp("migrate", uri=f"exec:cat > {self.stream}")
        while (status := self.qmp("query-migrate").get("status")) != "completed":
            if status == "failed":
                raise AssertionError("the migration failed")

    def devices(self):
        """(slot, function) → (vendor, device) of the PCI bus."""
        (bus,) = self.qmp("query-pci")
        return {(device["slot"], device["function"]): (device["id"]["vendor"], device["id"]["device"]) for device in bus["devices"]}


def device_model_arguments(config):
    """What libxl starts its device model with, as far as the guest sees it."""
    build, hvm = config["b_info"], config["b_info"]["type.hvm"]
    words = ["-M", "pc,hpet=off", "-nodefaults", "-m", f"{(build['max_memkb'] - build['video_memkb']) // 1024}"]
    adapter = {"cirrus": "cirrus-vga", "std": "VGA"}.get(hvm["vga"]["kind"])
    if adapter:
        words += ["-device", f"{adapter},vgamem_mb={build['video_memkb'] // 1024}"]
    if hvm["usb"] == "True":
        words += ["-usb"]
    for nic in config.get("nics", []):
        words += ["-device", f"{nic['model']},id=nic{nic['devid']},netdev=net{nic['devid']},mac={nic['mac']}",
                  "-netdev", f"hubport,hubid={nic['devid']},id=net{nic['devid']}"]
    return words + [word.replace("file=/dev/null", "file=null-co://") for word in build.get("extra_hvm", [])]


class PlanToXen(unittest.TestCase):
    def run_vmferry(self, code, *words):
        done = subprocess.run([VMFERRY, *map(str, words)], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def plan(self, machine, *words, code=DONE, release="4.17"):
        # That the machine has never run is not to be seen after its migration.
        words = (*words, "--allow", "tcg-missed-writes")
        return self.run_vmferry(code, "plan", "--to", "xl", machine.stream, "--source-qmp", machine.socket, "--xen-template",
                                TEMPLATES / f"xen-{release}.zst", *words)

    def test_plain(self):
        machine = Machine(self, (*PLAIN, "-name", "web1"))
        machine.migrate()
        for release in ("4.17", "4.20"):
            config = json.loads(self.plan(machine, *PLAIN_MAPPING, release=release).stdout)
            self.assertEqual(config["c_info"]["name"], "web1")
            self.assertEqual(config["b_info"]["max_memkb"], 120 << 10)
            self.assertEqual(config["disks"][0]["pdev_path"], "/dev/vg/web1")
            self.assertNotIn("extra_hvm", config["b_info"])
        document = json.loads(self.plan(machine, *PLAIN_MAPPING, "--json").stdout)
        self.assertEqual(document["xen"], "4.17")
        self.assertEqual(document["vcpus"], 2)
        self.assertEqual(document["ram_bytes"], 112 << 20)
        self.assertEqual(document["domain_config"]["nics"][0]["model"], "e1000")
        self.assertFalse([rule for rule in document["rules"] if rule["verdict"] == "refused"], document["rules"])
        again = Machine(self, device_model_arguments(config))
        self.assertEqual(again.devices(), machine.devices())

    def test_scattered(self):
        machine = Machine(self, SCATTERED)
        machine.migrate()
        refused = self.plan(machine, "--name", "scattered", code=REFUSED).stderr
        for rule in ("unmapped-disk", "unmapped-nic", "unknown-device"):
            self.assertIn(rule, refused)  # a second display adapter among them

        machine = Machine(self, SCATTERED[:-2])
        machine.migrate()
        config = json.loads(self.plan(machine, "--name", "scattered", "--disk", "root=/dev/null", "--nic", "0=xenbr0", "--nic",
                                      "1=br1,script=vif-route").stdout)
        self.assertEqual(config["nics"][1]["script"], "vif-route")
        again = Machine(self, device_model_arguments(config))
        self.assertEqual(again.devices(), machine.devices())

    def test_configuration_file(self):
        machine = Machine(self, PLAIN)
        machine.migrate()
        file = machine.socket.parent / "xen.toml"
        file.write_text(f'name = "filed"\nxen_template = "{TEMPLATES / "xen-4.20.zst"}"\nsource_qmp = "{machine.socket}"\n'
                        'serial = "pty"\nallow = ["unmapped-nic", "tcg-missed-writes"]\n[disk]\nhda = "/srv/{name}.img"\n[set]\ntsc_khz = 2000000\n')
        document = json.loads(self.run_vmferry(DONE, "plan", "--to", "xl", machine.stream, "--config", file, "--json").stdout)
        self.assertEqual(document["tsc_khz"], 2000000)
        self.assertEqual(document["xen"], "4.20")
        self.assertEqual(document["domain_config"]["disks"][0]["pdev_path"], "/srv/filed.img")
        self.assertEqual(document["domain_config"]["b_info"]["type.hvm"]["serial"], "pty")
        self.assertNotIn("nics", document["domain_config"])
        # The command line goes before the file.
        config = self.run_vmferry(DONE, "plan", "--to", "xl", machine.stream, "--config", file, "--name", "other").stdout
        self.assertEqual(json.loads(config)["disks"][0]["pdev_path"], "/srv/other.img")
        file.write_text('name = "x"\nqemu = "x"\n')
        self.assertIn("xen.toml:2", self.run_vmferry(USAGE, "plan", "--to", "xl", machine.stream, "--config", file).stderr)

        # What plan prints is taken as --domain-config, also without the source.
        own = machine.socket.parent / "own.json"
        own.write_text(config)
        words = ("plan", "--to", "xl", machine.stream, "--xen-template", TEMPLATES / "xen-4.17.zst", "--domain-config", own)
        self.assertIn("--set accel", self.run_vmferry(USAGE, *words).stderr)
        self.assertIn("cpu-policy", self.run_vmferry(REFUSED, *words, "--set", "accel=tcg").stderr)
        taken = self.run_vmferry(DONE, *words, "--set", "accel=tcg", "--allow", "cpu-policy").stdout
        self.assertEqual(json.loads(taken), json.loads(config))
        own.write_text('name = "own"\ntype = "hvm"\n')
        self.assertIn("xl create -n", self.run_vmferry(USAGE, *words).stderr)

    def test_mistakes(self):
        machine = Machine(self, (*PLAIN, "-name", "web1"))
        machine.migrate()
        for words, said in ((("--disk", "hdb=/x"), "no such drive"), (("--nic", "0=br0,ifname=x"), "BRIDGE[,script=PATH]"),
                            (("--disk", "hda=/x,cache=none"), "backend=phy|qdisk"), (("--set", "cpu=host"), "tsc_mode"),
                            (("--set", "tsc_mode=3"), "always_emulate"), (("--qemu", "x"), "Xen host"), (("--serial", "pty", "--serial", "pty"), "1 ports"),
                            (("--name", "a b"), "letters, digits")):
            self.assertIn(said, self.plan(machine, *words, code=USAGE).stderr)
        self.assertIn("--xen-template", self.run_vmferry(USAGE, "plan", "--to", "xl", machine.stream, "--source-qmp",
                                                         machine.socket, "--name", "x").stderr)
        self.run_vmferry(USAGE, "plan", "--to", "xl", machine.stream, "--xen-template", machine.stream, "--source-qmp",
                         machine.socket, "--name", "x")
        self.run_vmferry(USAGE, "plan", machine.stream, "--source-qmp", machine.socket)
        self.run_vmferry(USAGE, "plan", "--to", "xl", captures.first().stream)
        self.plan(Machine(self, ("-M", "none")), code=ENVIRONMENT)  # no stream

        other = Machine(self, ("-M", "pc-i440fx-2.11", "-nodefaults"))
        other.stream = machine.stream
        self.assertIn("--source-qmp", self.plan(other, "--name", "x", code=USAGE).stderr)

    def test_template(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="vmferry-plan-")))
        out = folder / "template.zst"
        document = json.loads(self.run_vmferry(DONE, "template", "--xen", captures.first().stream, "-o", out, "--json").stdout)
        self.assertEqual(document["xen"], "4.17")
        plain = folder / "template"
        self.run_vmferry(DONE, "template", "--xen", out, "-o", plain)
        self.assertEqual(plain.stat().st_size, document["bytes"])
        self.run_vmferry(USAGE, "template", "--xen", out, "-o", plain, "--", "qemu-system-x86_64")
        self.run_vmferry(ENVIRONMENT, "template", "--xen", folder / "nothing", "-o", plain)


if __name__ == "__main__":
    unittest.main()
