"""That the other tests would notice what they must not find."""

import pytest

from tests.browser.chromium import watch

pytestmark = pytest.mark.browser


def test_errors_and_requests_to_another_machine_are_noticed(browser, sweep_url):
    page = browser.new_page()
    problems = watch(page)
    page.evaluate("fetch('http://example.invalid/font.woff').catch(() => {})")
    page.goto(sweep_url)
    page.evaluate("console.error('broken')")
    page.evaluate("fetch('data/plugin/none').catch(() => {})")
    page.evaluate("setTimeout(() => { throw new Error('thrown') })")
    page.wait_for_timeout(500)
    page.close()
    text = "\n".join(problems)
    for part in ("console: broken", "off the machine: http://example.invalid", "404", "thrown"):
        assert part in text
