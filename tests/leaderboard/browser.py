"""A headless Chromium for tests of the HTML page. Without one, the tests are skipped."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REQUIRED = "LIGHTSEG_CHROMIUM"  # "required": tests fail where there is no browser
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
OPTIONS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
OPTIONS += ["--force-device-scale-factor=1"]


def missing(package: str) -> None:
    text = f"{package} is not installed: apt-get install chromium chromium-driver, pip install selenium"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(text)
    pytest.skip(text)


def chromium(profile: Path) -> Iterator[Any]:
    """Selenium's driver of a browser with a new profile and without background network traffic."""
    try:
        from selenium import webdriver
    except ImportError:
        missing("selenium")
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        missing("chromium" if browser is None else "chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield running
    running.quit()


class Page:
    """The page in the browser: what it shows, and actions of a reader."""

    def __init__(self, driver: Any, path: Path):
        self.driver = driver
        self.console()  # empties it
        driver.get(path.as_uri())
        self.size(1300, 1000)

    def size(self, width: int, height: int, scheme: str = "light") -> None:
        command = self.driver.execute_cdp_cmd
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        command("Emulation.setEmulatedMedia", {"features": features})
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        command("Emulation.setDeviceMetricsOverride", metrics)
        self.frames()

    def console(self) -> list[str]:
        """The messages of the browser's console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def frames(self) -> None:
        """Wait two frames, in which resize events are sent and plots drawn."""
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(f"return {script}", *arguments)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def first(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def column(self, key: str, group: int = 0) -> list[str]:
        cell = "th .name" if key == "backbone" else f'[data-key="{key}"]'
        lines = "document.querySelectorAll('.group')[arguments[0]].querySelectorAll('tr.model')"
        return self.run(f"[...{lines}].map((line) => line.querySelector(arguments[1]).textContent)", group, cell)

    def marked(self, cost: str, group: int) -> list[str]:
        """Backbones that are marked as on the Pareto front of this cost."""
        dots = self.all(".group")[group].find_elements("css selector", f"td[data-key={cost}] .dot")
        return [dot.find_element("xpath", "ancestor::tr//*[@class='name']").text for dot in dots]

    def choose(self, control: str, value: str) -> None:
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))"
        self.driver.execute_script(script, self.first(control), value)
        self.frames()

    def filter(self, text: str) -> None:
        self.first("#filter").clear()
        self.first("#filter").send_keys(text or " ")
        self.frames()

    def shown_groups(self) -> list[str]:
        return [heading.text for heading in self.all(".group:not([hidden]) h2")]

    def point(self, backbone: str) -> Any:
        """The circle of a backbone in the first group that has one."""
        circles = self.all(".group:not([hidden]) .plot circle")
        return next(circle for circle in circles if circle.get_attribute("aria-label").startswith(f"{backbone},"))

    def hover(self, element: Any) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self.driver, duration=0).move_to_element(element).perform()
        self.frames()

    def tip(self) -> str:
        return " | ".join(
            self.run("[...document.querySelectorAll('.tip:not([hidden]) span')].map((s) => s.textContent)")
        )

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)
        self.frames()

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return self.run("document.documentElement.scrollWidth - innerWidth")
