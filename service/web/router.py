"""Every page of the site, with what holds for all of them: form tokens, errors said on pages, nothing in the schema."""

from litestar import Router
from litestar.di import Provide

from service.web import errors, sessions
from service.web.chat import pages as chat_pages
from service.web.chat import said, turns
from service.web.console import data, lineage, overview, trust
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
            chat_pages.show_new,
            chat_pages.show_conversation,
            chat_pages.rename,
            chat_pages.ask_to_erase,
            chat_pages.erase,
            chat_pages.show_own_data,
            chat_pages.export,
            chat_pages.erase_all,
            turns.say,
            turns.answer_again,
            turns.show_turn,
            said.give,
            said.undo,
            said.show_receipt,
            overview.show_overview,
            data.show_datasets,
            data.compare_datasets,
            data.show_preview,
            data.make_preview,
            data.show_dataset,
            data.verify_dataset,
            lineage.show_lineage,
            trust.show_contributors,
            trust.show_contributor,
            trust.hold_back,
            trust.let_go,
            trust.show_erasure,
            trust.erase,
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
