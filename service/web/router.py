"""Every page of the site, with what holds for all of them: form tokens, errors said on pages, nothing in the schema."""

from litestar import Router
from litestar.di import Provide

from service.web import errors, sessions
from service.web.console import audit, keys, new_assistant, overview
from service.web.console.settings import erasures, guidelines, policies, retention, suites, webhooks
from service.web.page import check_form, provide_form, provide_page
from service.web.site import Site


def pages(site: Site) -> Router:
    return Router(
        path="/",
        route_handlers=[
            sessions.show_sign_in,
            sessions.sign_in,
            sessions.sign_out,
            sessions.set_preferences,
            sessions.get_static,
            overview.show_overview,
            new_assistant.show_form,
            new_assistant.create_assistant,
            guidelines.show_guidelines,
            guidelines.change_guidelines,
            guidelines.preview_guidelines,
            guidelines.show_version,
            guidelines.restore_version,
            policies.show_policies,
            policies.show_section,
            policies.change_section,
            policies.confirm_reset,
            policies.reset_section,
            policies.show_consent,
            policies.change_consent,
            webhooks.show_webhooks,
            webhooks.add_webhook,
            webhooks.show_webhook,
            webhooks.confirm_removal,
            webhooks.remove_webhook,
            retention.show_retention,
            retention.change_retention,
            suites.show_suites,
            suites.add_suite,
            suites.confirm_removal,
            suites.remove_suite,
            erasures.show_erasures,
            erasures.preview_erasure,
            erasures.erase,
            erasures.show_erasure,
            keys.show_keys,
            keys.create_key,
            keys.confirm_revocation,
            keys.revoke_key,
            audit.show_audit,
            audit.check_audit,
        ],
        dependencies={
            "site": Provide(lambda: site, sync_to_thread=False),
            "page": Provide(provide_page),
            "form": Provide(provide_form),
        },
        before_request=check_form,
        exception_handlers=errors.HANDLERS,
        include_in_schema=False,
    )
